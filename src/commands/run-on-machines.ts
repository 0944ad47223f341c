import type { Command } from 'commander'
import type { Ops } from '../core/context.js'
import type { MachineResult } from '../core/events.js'
import type { Selection } from '../network/selection.js'
import type { Ui } from '../ui/ui.js'
import {
  commonFlags,
  maxConcurrentFlag,
  maxConcurrentOf,
  type SelectionFlags,
  selectionFlags,
  selectionOf,
} from './flags.js'
import { machinesStatus } from './statuses.js'
import type { Cli, CommonFlags } from './verb.js'

export interface MachinesFlags extends CommonFlags, SelectionFlags {
  readonly maxConcurrent?: number | undefined
}

export interface MachinesRequest {
  readonly deployment: string | undefined
  readonly selection: Selection
  readonly maxConcurrent: number
}

/** Adds the flags of a verb that applies to every selected machine. */
export function machinesFlags(command: Command): void {
  selectionFlags(command)
  maxConcurrentFlag(command)
  commonFlags(command, { json: true, plain: true })
}

/**
 * Runs the verb and shows a table of results. A sentence about the purpose replaces an empty table: `there was
 * nothing to start`.
 */
export function runOnMachines(
  cli: Cli,
  flags: MachinesFlags,
  purpose: string,
  work: (ops: Ops, request: MachinesRequest) => Promise<MachineResult[]>,
): Promise<void> {
  return cli.run(flags, async (ops, ui) => {
    const results = await work(ops, {
      deployment: flags.deployment,
      selection: selectionOf(flags),
      maxConcurrent: maxConcurrentOf(flags, await ops.store.preferences()),
    })
    await ui.settle()
    if (ui.json) ui.printJson(results)
    else await showResults(ui, results, `there was nothing ${purpose}`)
    return machinesStatus(results)
  })
}

/** Shows the table of results, or a sentence instead of an empty table. */
export async function showResults(
  ui: Ui,
  results: readonly MachineResult[],
  whenNone: string,
): Promise<void> {
  if (results.length > 0) ui.print((await import('../ui/results-view.js')).resultsView(results, ui))
  else if (!ui.plain) ui.announce(whenNone)
}
