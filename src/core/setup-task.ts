import type { Duplex } from 'node:stream'
import type { Bounds } from './deadline.js'
import type { MachineDefinition } from './definition.js'
import type { PasswordSource } from './hydra-users.js'
import type { TaskId } from './names.js'
import type { OwnedPlace, ReservedPlace } from './owned-places.js'
import type { Run } from './run.js'
import type { Host } from './ssh.js'

/** `lost`: what is irreplaceable about the task is what is gone. */
export type TaskState = 'done' | 'needed' | { readonly drifted: string; readonly lost?: boolean }

/** What a task may know of the machine it runs on, besides the machine itself. */
export interface TaskMachine {
  readonly definition: MachineDefinition
  /** The deployment's name, or its UUID's first block. */
  readonly deployment: string
  /** Where users reach a TCP port of the machine, when its provider publishes it on the operator host. */
  publishedPort(port: number): { readonly host: string; readonly port: number } | undefined
}

/** A secret that a task works with, as its options name it. */
export interface SecretNeed {
  /** Unique within the machine; also the name of the file of a generated one. */
  readonly name: string
  /** For questions and errors: `password of Hydra's user 'alice'`. */
  readonly what: string
  readonly source: PasswordSource
}

/** What a task is given on the operator host. */
export interface TaskRun extends Run {
  /** Its text. It goes to the machine on standard input and nowhere else. */
  secret(name: string): Promise<string>
  /** Its source gives another one than the last time this task was done, or it was never done. */
  secretChanged(name: string): boolean
  /**
   * A connection to a TCP port of the machine, made as its users make it; through ssh where nothing is published, then
   * to this address of the machine (its loopback where none is said). It ends by these bounds.
   */
  connect(port: number, bounds: Bounds, address?: string): Promise<Duplex>
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
  /** What cannot be made again once it is gone: `the database`. Then it takes --allow-recreate. */
  readonly irreplaceable?: string
  /** `a | b` = nothing where one of them is installed, else the first. */
  debianPackages(options: Options): readonly string[]
  /**
   * Answers to what the installation of these packages asks, as debconf-set-selections(1) takes them: `PACKAGE QUESTION
   * TYPE ANSWER`. One that somebody gave before stands.
   */
  debconf?(options: Options): readonly string[]
  /** Does it apply, and with what; undefined = not wanted. */
  wanted(machine: TaskMachine): Options | undefined
  /**
   * Every file that it writes, and every unit that it starts or stops: no definition may have them too, or the two
   * would undo each other at every deploy.
   */
  owns(options: Options): readonly OwnedPlace[]
  /** The secrets it needs; they are no part of its options. */
  secrets?(options: Options): readonly SecretNeed[]
  /** Reads the machine, never our record. */
  probe(host: Host, options: Options, run: Run): Promise<TaskState>
  /** Idempotent; safe to run again after a crash half-way. Outputs are public: never a secret. */
  apply(host: Host, options: Options, run: TaskRun): Promise<Record<string, string>>
  /** Proves from outside that it works; throws what is wrong. */
  verify(host: Host, options: Options, run: TaskRun): Promise<void>
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
  readonly debconf?: readonly string[]
  readonly irreplaceable?: string | undefined
  /** What no definition of its machine may write. */
  readonly owns: readonly ReservedPlace[]
  readonly secrets: readonly SecretNeed[]
  probe(host: Host, run: Run): Promise<TaskState>
  apply(host: Host, run: TaskRun): Promise<Record<string, string>>
  verify(host: Host, run: TaskRun): Promise<void>
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
      debconf: task.debconf?.(options) ?? [],
      irreplaceable: task.irreplaceable,
      owns: task.owns(options).map((place) => ({ ...place, owner: `set-up task '${task.id}'` })),
      secrets: task.secrets?.(options) ?? [],
      probe: (host, run) => task.probe(host, options, run),
      apply: (host, run) => task.apply(host, options, run),
      verify: (host, run) => task.verify(host, options, run),
    }
  }
}
