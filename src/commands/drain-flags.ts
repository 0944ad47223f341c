import { type Command, Option } from 'commander'
import type { DrainChoice } from '../deploy/drain.js'
import { positive } from './flags.js'

/** Flags of the commands that may take a builder out of service. */
export interface DrainFlags {
  readonly drain?: boolean | undefined
  readonly drainDeadline?: number | undefined
}

export function drainFlags(command: Command): void {
  command
    .option('--no-drain', 'take a builder down while builds may run there')
    .addOption(
      new Option('--drain-deadline <minutes>', 'time for running builds of a builder that goes down')
        .argParser(positive)
        .default(60),
    )
}

/** Returns how builders are drained; returns `undefined` if they are not drained. */
export async function drainOf(flags: DrainFlags): Promise<DrainChoice | undefined> {
  if (flags.drain === false) return undefined
  const { usualDrain } = await import('../deploy/drain.js')
  const { drainDeadline } = flags
  return drainDeadline === undefined ? usualDrain : { ...usualDrain, deadlineMs: drainDeadline * 60_000 }
}
