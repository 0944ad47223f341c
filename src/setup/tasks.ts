import { bindTask, type TaskMachine, type WantedTask } from '../core/setup-task.js'
import { autoUpdateTask } from './auto-update.js'
import { binfmtTask } from './binfmt.js'
import { builderTask } from './builders/builder-task.js'
import { buildersTask } from './builders/builders-task.js'
import { builderCacheTask } from './builders/cache-task.js'
import { builderCachesTask } from './builders/caches-task.js'
import { builderKeyTask } from './builders/key-task.js'
import { cacheKeyTask } from './cache-key.js'
import { binaryCacheTask } from './hydra/binary-cache.js'
import { hydraProjectsTask } from './hydra/projects-task.js'
import { hydraProofTask } from './hydra/proof-task.js'
import { hydraTask } from './hydra/task.js'
import { hydraAccountsTask } from './hydra/unix-users.js'
import { adminUserTask } from './hydra/web-users-task.js'
import { nginxTask } from './nginx/task.js'
import { nixTask } from './nix.js'
import { nixServeTask } from './nix-serve.js'
import { nixServeProofTask } from './nix-serve-proof.js'
import { postfixTask } from './postfix.js'
import { postgresqlTask } from './postgresql/task.js'

/** All set-up tasks. */
export const setupTasks: readonly ((machine: TaskMachine) => WantedTask | undefined)[] = [
  bindTask(nixTask),
  bindTask(hydraAccountsTask),
  bindTask(postgresqlTask),
  bindTask(cacheKeyTask),
  bindTask(binaryCacheTask),
  bindTask(nixServeTask),
  bindTask(nixServeProofTask),
  bindTask(hydraTask),
  bindTask(nginxTask),
  bindTask(postfixTask),
  bindTask(adminUserTask),
  bindTask(hydraProjectsTask),
  bindTask(hydraProofTask),
  bindTask(binfmtTask),

  bindTask(autoUpdateTask),
  bindTask(builderKeyTask),
  bindTask(builderTask),
  bindTask(builderCacheTask),
  bindTask(buildersTask),
  bindTask(builderCachesTask),
]
