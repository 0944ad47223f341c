import type { Duplex } from 'node:stream'
import type { Bounds } from './deadline.js'
import type { MachineDefinition } from './definition.js'
import type { PasswordSource } from './hydra-users.js'
import type { MachineName, TaskId } from './names.js'
import type { OwnedPlace, ReservedPlace } from './owned-places.js'
import type { Run } from './run.js'
import type { Host } from './ssh.js'

/**
 * The state of a task on a machine. `lost` means that the task's irreplaceable part is gone. `leftOver` lists things
 * that the task created and that its options no longer name; only `--prune` removes them.
 */
export type TaskState =
  | 'done'
  | 'needed'
  | { readonly drifted: string; readonly lost?: boolean; readonly leftOver?: string }
  | { readonly drifted?: undefined; readonly leftOver: string }

/**
 * Stages of tasks that need other machines, in their order. Each stage begins once the stage before has ended on every
 * machine of the run.
 */
export const joinStages = ['offer', 'use', 'withdraw'] as const
/** A stage; `bootstrap` tasks run before anything is copied. */
export type TaskStage = 'bootstrap' | 'configure' | (typeof joinStages)[number]

/** Public facts about a machine of the deployment, from the state and from the network expression. */
export interface PeerMachine {
  /** The pinned host key, `ssh-ed25519 AAAA…`. */
  readonly hostKey: string | undefined
  /** The outputs of the machine's tasks, by task. */
  readonly outputs: Readonly<Record<TaskId, Readonly<Record<string, string>>>>
  /** The definition; absent if the run evaluates only other machines, or if the machine is obsolete. */
  readonly definition: MachineDefinition | undefined
  /** Whether the network expression no longer has the machine. */
  readonly obsolete: boolean
}

/** Facts about the machine that a task has without a connection to the machine. */
export interface TaskMachine {
  readonly definition: MachineDefinition
  /** The deployment's name, or the first block of its UUID. */
  readonly deployment: string
  /** The outputs of the machine's own tasks at their last run, by task. */
  readonly outputs?: PeerMachine['outputs']
  /** The public key of the operator host's Nix; undefined until the key exists. */
  readonly operatorKey?: string | undefined
  /** The machines of the deployment by name, including this machine. */
  readonly peers?: ReadonlyMap<MachineName, PeerMachine>
  /** Returns the address at which users reach a TCP port of the machine, if its provider publishes the port. */
  publishedPort(port: number): { readonly host: string; readonly port: number } | undefined
}

/** A secret that a task needs, with the source from the task's options. */
export interface SecretNeed {
  /** A name that is unique within the machine, and also the file name of a generated secret. */
  readonly name: string
  /** A description for questions and errors: `password of Hydra's user 'alice'`. */
  readonly what: string
  readonly source: PasswordSource
}

/** The parameters of a task on the operator host. */
export interface TaskRun extends Run {
  /** Returns the text of a secret, which goes to the machine only on standard input. */
  secret(name: string): Promise<string>
  /**
   * Tells whether the secret's source has changed since the last successful run, or whether no run has succeeded yet.
   */
  secretChanged(name: string): boolean
  /** Whether the run removes the task's results that the options no longer name. */
  readonly prune: boolean
  /**
   * Connects to a TCP port of the machine, as its users do. Unpublished ports are reached through ssh at `address`, by
   * default the machine's loopback. `bounds` limit the connection.
   */
  connect(port: number, bounds: Bounds, address?: string): Promise<Duplex>
}

/**
 * A recorded, idempotent step on a machine. Tasks never call apt: one transaction installs the packages of all tasks
 * before the first task runs.
 */
export interface SetupTask<Options> {
  readonly id: TaskId
  /** Former names of the task, for a hint to users who still use one. */
  readonly formerly?: readonly TaskId[]
  readonly title: string
  readonly after: readonly TaskId[]
  readonly stage: TaskStage
  /** Returns a stage other than `stage` for some options: the removal of a task's results comes last. */
  stageFor?(options: Options): TaskStage
  /** The part that cannot be restored once it is lost: `the database`. Its recreation requires --allow-recreate. */
  readonly irreplaceable?: string
  /** Returns the packages. `a | b` is satisfied by either package; `a` is installed if both are missing. */
  debianPackages(options: Options): readonly string[]
  /**
   * Returns answers for the packages' installation, as debconf-set-selections(1) takes them: `PACKAGE QUESTION TYPE
   * ANSWER`. Existing answers stay.
   */
  debconf?(options: Options): readonly string[]
  /** Returns the task's options for a machine, or undefined when the task does not apply. */
  wanted(machine: TaskMachine): Options | undefined
  /**
   * Returns every file that the task writes, and every unit that the task starts or stops. No definition may contain
   * such a file or unit; otherwise the task and the activation would undo each other's work.
   */
  owns(options: Options): readonly OwnedPlace[]
  /** Returns the task's secrets, which are not part of its options. */
  secrets?(options: Options): readonly SecretNeed[]
  /**
   * Returns the outputs by which `wanted` finds the task's traces, so that they can be removed. The engine records these
   * outputs before the task runs. A task that fails, or that is interrupted, would otherwise leave its traces for ever.
   */
  traces?(options: Options): Readonly<Record<string, string>>
  /** Reads the state from the machine, never from the record. */
  probe(host: Host, options: Options, run: Run): Promise<TaskState>
  /**
   * Applies the task. The method is idempotent and safe to repeat after a crash. Outputs are public and never contain a
   * secret.
   */
  apply(host: Host, options: Options, run: TaskRun): Promise<Record<string, string>>
  /** Verifies from outside that the task's result works; throws an error that describes the problem. */
  verify(host: Host, options: Options, run: TaskRun): Promise<void>
}

/** A task with its options, in the form that the engine uses. */
export interface WantedTask {
  readonly id: TaskId
  readonly formerly?: readonly TaskId[]
  readonly title: string
  readonly after: readonly TaskId[]
  readonly stage: TaskStage
  /** The inputs for the recorded keyed hash. */
  readonly inputs: string
  readonly packages: readonly string[]
  readonly debconf?: readonly string[]
  readonly irreplaceable?: string | undefined
  /** The files and units that no definition of the machine may contain. */
  readonly owns: readonly ReservedPlace[]
  readonly secrets: readonly SecretNeed[]
  /** Outputs that are recorded before the task runs. */
  readonly traces?: Readonly<Record<string, string>>
  probe(host: Host, run: Run): Promise<TaskState>
  apply(host: Host, run: TaskRun): Promise<Record<string, string>>
  verify(host: Host, run: TaskRun): Promise<void>
}

/** Turns a task into a function that binds the task to a machine. */
export function bindTask<Options>(
  task: SetupTask<Options>,
): (machine: TaskMachine) => WantedTask | undefined {
  return (machine) => {
    const options = task.wanted(machine)
    if (options === undefined) return undefined
    return {
      id: task.id,
      formerly: task.formerly ?? [],
      title: task.title,
      after: task.after,
      stage: task.stageFor?.(options) ?? task.stage,
      inputs: JSON.stringify(options),
      packages: task.debianPackages(options),
      debconf: task.debconf?.(options) ?? [],
      irreplaceable: task.irreplaceable,
      owns: task.owns(options).map((place) => ({ ...place, owner: `set-up task '${task.id}'` })),
      secrets: task.secrets?.(options) ?? [],
      traces: task.traces?.(options) ?? {},
      probe: (host, run) => task.probe(host, options, run),
      apply: (host, run) => task.apply(host, options, run),
      verify: (host, run) => task.verify(host, options, run),
    }
  }
}
