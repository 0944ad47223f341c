import type { Duplex, Readable } from 'node:stream'
import type { AnyProvider } from './bind-provider.js'
import type { WhyPlace } from './build-why.js'
import type { ProofPlace, UsedBuilder } from './builder-entries.js'
import type { StateFolder } from './deployment.js'
import type { EventSink } from './events.js'
import type { HydraUserAdmin } from './hydra-user-admin.js'
import type { ImageStore } from './image.js'
import type { MachineName } from './names.js'
import type { Nix } from './nix.js'
import type { Finding } from './provider.js'
import type { BuildWhy } from './reports.js'
import type { Run } from './run.js'
import type { SecretStore } from './secrets.js'
import type { TaskMachine, WantedTask } from './setup-task.js'
import type { Ssh } from './ssh.js'
import type { DeploymentStore } from './store.js'

export interface ProviderRegistry {
  all(): readonly AnyProvider[]
  /** Returns the provider of a canonical name; throws a usage error for an unknown name. */
  named(name: string): AnyProvider
}

/** The person who runs this command, for the journal and the lock. */
export interface Operator {
  readonly user: string
  readonly host: string
  readonly command: string
  /** An id that is unique per invocation: `20261121-101500-a1b2c3`. */
  readonly run: string
}

/** Commands on the operator host. */
export interface LocalCommands {
  /** Runs argv; secrets go only to stdin. A missing program is an OpsError that says how to install the program. */
  run(
    argv: readonly string[],
    options: {
      readonly signal: AbortSignal
      readonly timeoutMs: number
      readonly what: string
      readonly stdin?: string | Uint8Array
      readonly env?: Readonly<Record<string, string>>
      readonly cwd?: string
      /**
       * The encoding of the output; `latin1` gives one character per byte, for output that need not be text. Default:
       * `utf8`.
       */
      readonly encoding?: 'utf8' | 'latin1'
      /** `hidden` keeps stderr, which may hold secrets, out of errors and of the result. */
      readonly stderr?: 'hidden'
      onLine?(line: string): void
    },
  ): Promise<import('./ssh.js').CommandResult>
  /** Runs a program with the user's terminal; returns the exit status (128 + n for a signal). */
  interactive(
    argv: readonly string[],
    options: { readonly signal: AbortSignal; readonly env?: Readonly<Record<string, string>> },
  ): Promise<number>
  /**
   * Starts a program as a byte pipe (`ssh -W`). Writes go to its stdin, reads come from its stdout, and stderr goes to
   * `onLine`. Destroying the stream, or the signal, ends the program. The stream emits an error when the program is
   * missing.
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
   * Starts a program whose output, of any size, is read as a stream. Destroying the stream, or the signal, ends the
   * program. `done` resolves with the end of the program and an empty stdout. `done` rejects when the program could not
   * be started.
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

/** Questions that only a person can answer. Each question fails with `NO_TERMINAL` when there is no terminal. */
export interface Questions {
  /** Whether there is a person to ask. */
  readonly interactive: boolean
  confirm(question: string): Promise<boolean>
  secret(question: string): Promise<string>
  /**
   * Asks for one line again until `wrong` finds nothing; `wrong` returns the reason. An empty answer takes the
   * suggestion.
   */
  text(
    question: string,
    how: { readonly suggestion: string; wrong(answer: string): string | undefined },
  ): Promise<string>
  /** Asks for one of several options; the first option is suggested. */
  choose<T extends string>(
    question: string,
    choices: readonly { readonly value: T; readonly text: string }[],
  ): Promise<T>
  /** Reads all piped standard input; refuses, with the hint, when standard input is a terminal. */
  piped(what: string, hint: string): Promise<string>
}

/** The log files of one run. */
export interface RunLogs {
  /** Appends one line to the machine's log of this run; timestamps are added. */
  append(machine: MachineName | undefined, line: string): void
  tail(machine: MachineName, lines: number): string[]
  /** Keeps lines in memory until `release`, so that a run without any work leaves no log. */
  hold(): void
  release(): void
  close(): void
}

/** Everything that an operation works with. Only `src/context.ts` and tests build this object. */
export interface Ops {
  readonly store: DeploymentStore
  readonly files: StateFolder
  readonly secrets: SecretStore
  readonly providers: ProviderRegistry
  readonly nix: Nix
  readonly ssh: Ssh
  readonly images: ImageStore
  /** Returns all set-up tasks, in no particular order. */
  tasks(): Promise<readonly ((machine: TaskMachine) => WantedTask | undefined)[]>
  /**
   * Returns the users of a machine's Hydra, or undefined when the machine wants no Hydra. `deployed` is the package
   * that runs there.
   */
  hydraUsers(machine: TaskMachine, deployed: string | undefined): Promise<HydraUserAdmin | undefined>
  /** Finds the one cause that keeps a derivation from being built. */
  whyNotBuilt(place: WhyPlace, derivation: string, run: Run): Promise<BuildWhy>
  /** Builds on a builder, once for each system and kind of build; throws the cause of a failure. */
  proveBuilder(place: ProofPlace, builder: UsedBuilder, run: Run): Promise<void>
  readonly events: EventSink
  readonly operator: Operator
  readonly local: LocalCommands
  readonly questions: Questions
  /** Opens the log folder of this run. Commands that write nothing do not call `logs`. */
  logs(folder: string): RunLogs
  readonly signal: AbortSignal
  now(): Date
  /** Checks what this operator host can and cannot do. */
  doctor(run: Run): Promise<Finding[]>
}
