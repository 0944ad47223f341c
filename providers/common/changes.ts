import type { ResourceChange } from '../../src/core/provider.js'
import { type Forward, forwardChanges } from './ports.js'

/** A setting as text: its name, its current value and its wanted value. */
export type SettingPair = readonly [what: string, from: string, to: string]

/** Lists the settings that differ. */
export function settingChanges(pairs: readonly SettingPair[]): string[] {
  return pairs.flatMap(([what, from, to]) =>
    from === to || `${from} MiB` === to ? [] : [`${what} ${from} → ${to}`],
  )
}

/** Describes a machine that is about to be created. */
export function creationItem(facts: {
  readonly memoryMiB: number
  readonly vcpu: number
  readonly size: string
  readonly image: string
  readonly disks: readonly (readonly [name: string, size: string])[]
}): ResourceChange {
  const disks = facts.disks.map(([name, size]) => ` · disk ${name} ${size}`)
  const detail = `${facts.memoryMiB} MiB, ${facts.vcpu} vCPU, ${facts.size} on ${facts.image}`
  return { action: 'create', detail: `${detail}${disks.join('')}`, needs: 'nothing' }
}

/**
 * Lists the forwarded ports to open and close now. If no port changes now, lists the changes for the next start.
 */
export function forwardItems(
  next: readonly Forward[],
  live: readonly Forward[] | undefined,
  wanted: readonly Forward[],
): ResourceChange[] {
  const now = forwardChanges(live ?? next, wanted)
  const later = forwardChanges(next, wanted)
  const { added, removed } = now.added.length + now.removed.length > 0 ? now : later
  const name = ({ host, guest }: Forward) => `port 127.0.0.1:${host} → :${guest}`
  return [
    ...removed.map((forward) => `${name(forward)} closed`),
    ...added.map((forward) => `${name(forward)} opened`),
  ].map((detail) => ({ action: 'change', detail, needs: 'nothing' }))
}
