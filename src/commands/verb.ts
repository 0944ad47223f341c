import type { Command } from 'commander'
import type { Ops } from '../core/context.js'
import type { Ui } from '../ui/ui.js'

/** One verb of the command line. Its file is read only when the verb is called. */
export interface Verb {
  readonly name: string
  readonly summary: string
  readonly group: 'Deployments:' | 'Machines:' | 'Looking:' | 'This host:'
  load(): Promise<(command: Command, cli: Cli) => void>
  /** Whether the words after the first argument belong to another program (ssh …). */
  readonly passThrough?: boolean
  /** Translates the exit status of verbs that have other statuses in NixOps. */
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

/** The part of the command line that the file of a verb uses. The file imports everything else when the verb runs. */
export interface Cli {
  /** Opens the context and runs `action`, which returns the exit status (nothing = 0). */
  run(
    flags: CommonFlags,
    action: (ops: Ops, ui: Ui) => Promise<number | undefined>,
    options?: {
      /** Whether the terminal belongs to a child process, which then handles Ctrl-C. */
      readonly handsOver?: boolean
      /** Whether provider plugins are loaded (default: yes). A repair must work even with a broken plugin. */
      readonly plugins?: boolean
    },
  ): Promise<void>
}
