import type { Command } from 'commander'
import type { Ops } from '../core/context.js'
import type { MachineResult } from '../core/events.js'
import type { Selection } from '../operations/selection.js'
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

/** The flags of a verb that does one thing to every selected machine. */
export function machinesFlags(command: Command): void {
  selectionFlags(command)
  maxConcurrentFlag(command)
  commonFlags(command, { json: true, plain: true })
}

/** Runs it and shows the table of results. */
export function runOnMachines(
  cli: Cli,
  flags: MachinesFlags,
  work: (ops: Ops, request: MachinesRequest) => Promise<MachineResult[]>,
): Promise<void> {
  return cli.run(flags, async (ops, ui) => {
    const results = await work(ops, {
      deployment: flags.deployment,
      selection: selectionOf(flags),
      maxConcurrent: maxConcurrentOf(flags, ops.store.preferences()),
    })
    await ui.settle()
    if (ui.json) ui.printJson(results)
    else ui.print((await import('../ui/results-view.js')).resultsView(results, ui))
    return machinesStatus(results)
  })
}
