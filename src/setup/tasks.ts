import { bindTask, type TaskMachine, type WantedTask } from '../core/setup-task.js'
import { cacheKeyTask } from './cache-key.js'
import { nixTask } from './nix.js'

/** Every set-up task there is. */
export const setupTasks: readonly ((machine: TaskMachine) => WantedTask | undefined)[] = [
  bindTask(nixTask),
  bindTask(cacheKeyTask),
]
