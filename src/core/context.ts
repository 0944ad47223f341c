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
  /** Returns the provider with a canonical name; throws a usage error for an unknown name. */
  named(name: string): AnyProvider
}

/** The person who runs this command, for the journal and the lock. */
export interface Operator {
  readonly user: string
  readonly host: string
  readonly command: string
  /** An id that is unique for each invocation: `20261121-101500-a1b2c3`. */
  readonly run: string
}

/** Commands on the operator host. */
export interface LocalCommands {
  /**
   * Runs argv; secrets are passed only on stdin. A missing program causes an OpsError that says how to install it.
   */
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
       * The encoding of the output. `latin1` gives one character per byte, for output that may not be text. Default:
       * `utf8`.
       */
      readonly encoding?: 'utf8' | 'latin1'
      /** `hidden` keeps stderr, which may hold secrets, out of errors and of the result. */
      readonly stderr?: 'hidden'
      onLine?(line: string): void
    },
  ): Promise<import('./ssh.js').CommandResult>
  /** Runs a program on the user's terminal; returns the exit status (128 + n for a signal). */
  interactive(
    argv: readonly string[],
    options: { readonly signal: AbortSignal; readonly env?: Readonly<Record<string, string>> },
  ): Promise<number>
  /**
   * Starts a program as a byte pipe (`ssh -W`). Writes go to its stdin, reads come from its stdout, and stderr goes
   * to `onLine`. Destroying the stream, or firing the signal, ends the program. The stream emits an error if the
   * program is missing.
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
   * Starts a program whose output is read as a stream, because it may be of any size. Destroying the stream, or
   * firing the signal, ends the program. `done` resolves when the program ends, with an empty stdout. `done` rejects
   * if the program could not be started.
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

/** Questions that only a person can answer. Each question fails with `NO_TERMINAL` if no terminal is available. */
export interface Questions {
  /** Whether a person can answer. */
  readonly interactive: boolean
  confirm(question: string): Promise<boolean>
  secret(question: string): Promise<string>
  /**
   * Asks for one line until `wrong` returns undefined; `wrong` returns the reason for refusing an answer. An empty
   * answer means the suggestion.
   */
  text(
    question: string,
    how: { readonly suggestion: string; wrong(answer: string): string | undefined },
  ): Promise<string>
  /** Asks the user to choose one of several options; the first option is suggested. */
  choose<T extends string>(
    question: string,
    choices: readonly { readonly value: T; readonly text: string }[],
  ): Promise<T>
  /** Reads all piped standard input. Fails, with the hint, when standard input is a terminal. */
  piped(what: string, hint: string): Promise<string>
}

/** The log files of one run. */
export interface RunLogs {
  /** Appends one line, with a timestamp, to the machine's log of this run. */
  append(machine: MachineName | undefined, line: string): void
  tail(machine: MachineName, lines: number): string[]
  /** Keeps lines in memory until `release`, so that a run without work leaves no log. */
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
   * Returns the users of a machine's Hydra, or undefined when the machine has no Hydra. `deployed` is the package
   * that runs on the machine.
   */
  hydraUsers(machine: TaskMachine, deployed: string | undefined): Promise<HydraUserAdmin | undefined>
  /** Finds the one reason why a derivation cannot be built. */
  whyNotBuilt(place: WhyPlace, derivation: string, run: Run): Promise<BuildWhy>
  /** Runs a build on a builder for each system and kind of build; throws the cause of a failure. */
  proveBuilder(place: ProofPlace, builder: UsedBuilder, run: Run): Promise<void>
  readonly events: EventSink
  readonly operator: Operator
  readonly local: LocalCommands
  readonly questions: Questions
  /** Opens the log folder of this run. Commands that write nothing do not call `logs`. */
  logs(folder: string): RunLogs
  readonly signal: AbortSignal
  now(): Date
  /** Checks what this operator host supports. */
  doctor(run: Run): Promise<Finding[]>
}
