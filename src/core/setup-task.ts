import type { MachineDefinition } from './definition.js'
import type { TaskId } from './names.js'
import type { Run } from './run.js'
import type { Host } from './ssh.js'

export type TaskState = 'done' | 'needed' | { readonly drifted: string }

/** What a task may know of the machine it runs on, besides the machine itself. */
export interface TaskMachine {
  readonly definition: MachineDefinition
  /** The deployment's name, or its UUID's first block. */
  readonly deployment: string
}

/**
 * A one-shot, recorded, idempotent step on a machine. Tasks never call apt: they name their packages,
 * which one transaction installs before the first task runs.
 */
export interface SetupTask<Options> {
  readonly id: TaskId
  readonly title: string
  readonly after: readonly TaskId[]
  /** `bootstrap` tasks run before anything is copied. */
  readonly stage: 'bootstrap' | 'configure'
  debianPackages(options: Options): readonly string[]
  /** Does it apply, and with what; undefined = not wanted. */
  wanted(machine: TaskMachine): Options | undefined
  /** Reads the machine, never our record. */
  probe(host: Host, options: Options, run: Run): Promise<TaskState>
  /** Idempotent; safe to run again after a crash half-way. Outputs are public: never a secret. */
  apply(host: Host, options: Options, run: Run): Promise<Record<string, string>>
  /** Proves from outside that it works; throws what is wrong. */
  verify(host: Host, options: Options, run: Run): Promise<void>
}

/** A task with its options already found: what the engine works with. */
export interface WantedTask {
  readonly id: TaskId
  readonly title: string
  readonly after: readonly TaskId[]
  readonly stage: 'bootstrap' | 'configure'
  /** The inputs, for the keyed hash that is recorded. */
  readonly inputs: string
  readonly packages: readonly string[]
  probe(host: Host, run: Run): Promise<TaskState>
  apply(host: Host, run: Run): Promise<Record<string, string>>
  verify(host: Host, run: Run): Promise<void>
}

/** Turns a task into a function from machine to the bound task. */
export function bindTask<Options>(
  task: SetupTask<Options>,
): (machine: TaskMachine) => WantedTask | undefined {
  return (machine) => {
    const options = task.wanted(machine)
    if (options === undefined) return undefined
    return {
      id: task.id,
      title: task.title,
      after: task.after,
      stage: task.stage,
      inputs: JSON.stringify(options),
      packages: task.debianPackages(options),
      probe: (host, run) => task.probe(host, options, run),
      apply: (host, run) => task.apply(host, options, run),
      verify: (host, run) => task.verify(host, options, run),
    }
  }
}
