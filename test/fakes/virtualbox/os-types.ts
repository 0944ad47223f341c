import type { Recorded } from './usage.js'

/** Finds an OS type by its line in the recorded list: `ID / Description: Linux_64 -- Other Linux (64-bit)`. */
function osType(recorded: Recorded, id: string): { description: string; family: string } | undefined {
  const list = recorded.text('010-list-ostypes', 'stdout')
  const block = list.split('\n\n').find((each) => each.includes(`ID / Description: ${id} -- `))
  const description = block?.match(/^ID \/ Description: \S+ -- (.*)$/m)?.[1]
  const family = block?.match(/^Family:\s+(\S+)/m)?.[1]
  return description === undefined || family === undefined ? undefined : { description, family }
}

export function isOsType(recorded: Recorded, id: string): boolean {
  return osType(recorded, id) !== undefined
}

export function osDescription(recorded: Recorded, id: string): string {
  return osType(recorded, id)?.description ?? id
}

export function osFamily(recorded: Recorded, id: string): string {
  return osType(recorded, id)?.family ?? 'Other'
}
