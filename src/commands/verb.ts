import type { Command } from 'commander'
import type { Ops } from '../core/context.js'
import type { Ui } from '../ui/ui.js'

/** One verb of the command line. Its file is only read when it is called. */
export interface Verb {
  readonly name: string
  readonly summary: string
  readonly group: 'Deployments:' | 'Machines:' | 'Looking:' | 'This host:'
  load(): Promise<(command: Command, cli: Cli) => void>
  /** What follows the first argument belongs to somebody else (ssh …). */
  readonly passThrough?: boolean
  /** Another meaning of the exit status, where NixOps gave it one. */
  statusOf?(code: number): number
}

/** Flags that every verb has. */
export interface CommonFlags {
  readonly deployment?: string | undefined
  readonly state?: string | undefined
  readonly debug?: boolean | undefined
  readonly json?: boolean | undefined
  readonly plain?: boolean | undefined
  readonly color: boolean
}

/** What a verb's file is given: everything else it imports when it runs. */
export interface Cli {
  /** Opens the context and does the verb's work; what `action` returns is the exit status (nothing = 0). */
  run(
    flags: CommonFlags,
    action: (ops: Ops, ui: Ui) => Promise<number | undefined>,
    options?: {
      /** The terminal belongs to a child process; Ctrl-C is its business. */
      readonly handsOver?: boolean
      /** False = also when a provider plugin is broken: what mends that must work. */
      readonly plugins?: boolean
    },
  ): Promise<void>
}
