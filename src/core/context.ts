import type { Duplex, Readable } from 'node:stream'
import type { AnyProvider } from './bind-provider.js'
import type { StateFolder } from './deployment.js'
import type { EventSink } from './events.js'
import type { HydraUserAdmin } from './hydra-user-admin.js'
import type { ImageStore } from './image.js'
import type { MachineName } from './names.js'
import type { Nix } from './nix.js'
import type { Finding } from './provider.js'
import type { Run } from './run.js'
import type { TaskMachine, WantedTask } from './setup-task.js'
import type { Ssh } from './ssh.js'
import type { DeploymentStore } from './store.js'

export interface ProviderRegistry {
  all(): readonly AnyProvider[]
  /** By canonical name; throws a usage error for one that is not there (yet). */
  named(name: string): AnyProvider
}

/** Who runs this command; goes into the journal and the lock. */
export interface Operator {
  readonly user: string
  readonly host: string
  readonly command: string
  /** Unique per invocation: `20261121-101500-a1b2c3`. */
  readonly run: string
}

/** A command on the operator host. */
export interface LocalCommands {
  /** Runs argv; secrets only on stdin. Absence of the program is an OpsError that says how to get it. */
  run(
    argv: readonly string[],
    options: {
      readonly signal: AbortSignal
      readonly timeoutMs: number
      readonly what: string
      readonly stdin?: string | Uint8Array
      readonly env?: Readonly<Record<string, string>>
      readonly cwd?: string
      /** `latin1` = one character per byte, for output that need not be text. Default: `utf8`. */
      readonly encoding?: 'utf8' | 'latin1'
      /** `hidden` = what it writes there may hold secrets: neither an error nor the result has it. */
      readonly stderr?: 'hidden'
      onLine?(line: string): void
    },
  ): Promise<import('./ssh.js').CommandResult>
  /** With the user's terminal; returns the exit status (128 + n for a signal). */
  interactive(
    argv: readonly string[],
    options: { readonly signal: AbortSignal; readonly env?: Readonly<Record<string, string>> },
  ): Promise<number>
  /**
   * A program as a byte pipe (`ssh -W`): what is written goes to its stdin, what it prints is read; stderr goes
   * to `onLine`. Destroying the stream, or the signal, ends the program; its absence is an error of the stream.
   */
  spawnDuplex(
    argv: readonly string[],
    options: {
      readonly signal: AbortSignal
      readonly what: string
      readonly env?: Readonly<Record<string, string>>
      onLine?(line: string): void
    },
  ): Duplex
  /**
   * A program whose output is read as it comes, however large it is. Destroying the stream, or the signal, ends it;
   * `done` tells how it ended (stdout is empty there), and is an error when it could not be started.
   */
  spawnReadable(
    argv: readonly string[],
    options: {
      readonly signal: AbortSignal
      readonly what: string
      readonly env?: Readonly<Record<string, string>>
    },
  ): { readonly stdout: Readable; readonly done: Promise<import('./ssh.js').CommandResult> }
}

/** Questions only a person can answer. Without a terminal each refuses with a sentence: `NO_TERMINAL`. */
export interface Questions {
  /** There is a person to ask. */
  readonly interactive: boolean
  confirm(question: string): Promise<boolean>
  secret(question: string): Promise<string>
  /** One line. Asked again while it is `wrong`, which says why; an empty answer takes the suggestion. */
  text(
    question: string,
    how: { readonly suggestion: string; wrong(answer: string): string | undefined },
  ): Promise<string>
  /** One of several; the first is suggested. */
  choose<T extends string>(
    question: string,
    choices: readonly { readonly value: T; readonly text: string }[],
  ): Promise<T>
  /** What is piped to us, to its end; refused, with the hint, where standard input is a terminal. */
  piped(what: string, hint: string): Promise<string>
}

/** The log files of one run. */
export interface RunLogs {
  /** Appends one line to the machine's log of this run; timestamps are added. */
  append(machine: MachineName | undefined, line: string): void
  tail(machine: MachineName, lines: number): string[]
  /** Keeps lines in memory until `release`: a run that works on nothing leaves no log. */
  hold(): void
  release(): void
  close(): void
}

/** Everything an operation works with; put together in `src/context.ts` alone, or by a test. */
export interface Ops {
  readonly store: DeploymentStore
  readonly files: StateFolder
  readonly providers: ProviderRegistry
  readonly nix: Nix
  readonly ssh: Ssh
  readonly images: ImageStore
  /** Every set-up task there is, in no particular order. */
  tasks(): Promise<readonly ((machine: TaskMachine) => WantedTask | undefined)[]>
  /** The users of a machine's Hydra; `deployed` is the package that runs there. Undefined = it wants no Hydra. */
  hydraUsers(machine: TaskMachine, deployed: string | undefined): Promise<HydraUserAdmin | undefined>
  readonly events: EventSink
  readonly operator: Operator
  readonly local: LocalCommands
  readonly questions: Questions
  /** Opens the log folder of this run. Not called by commands that write nothing. */
  logs(folder: string): RunLogs
  readonly signal: AbortSignal
  now(): Date
  /** What this operator host can and cannot do. */
  doctor(run: Run): Promise<Finding[]>
}
