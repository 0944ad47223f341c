import type { TaskMachine, WantedTask } from '../../src/core/setup-task.js'
import { bindTask, type SetupTask } from '../../src/core/setup-task.js'

/** Creates a set-up task that each machine wants and needs, and that changes nothing; `more` overrides its parts. */
export function fakeTask(
  id: string,
  more: Partial<SetupTask<object>> = {},
): (machine: TaskMachine) => WantedTask | undefined {
  return bindTask<object>({
    id,
    title: id,
    after: [],
    stage: 'configure',
    debianPackages: () => [],
    owns: () => [],
    wanted: () => ({}),
    probe: async () => 'needed',
    apply: async () => ({}),
    verify: async () => {},
    ...more,
  })
}
