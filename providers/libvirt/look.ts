import type { Observation } from '../../src/core/provider.js'
import type { Run } from '../../src/core/run.js'
import { unknownState } from '../common/look.js'
import { foreign } from '../common/places.js'
import { parseDomainXml } from './domain-facts.js'
import { type PlacedFacts, placedFacts } from './moved.js'
import { type LibvirtParts, type LibvirtResource, type Places, placesOf, readNote } from './places.js'
import { createVirsh, isConnectionError, type Virsh, virshError } from './virsh.js'

/** Objects found under a machine's name: none, a foreign object, or the machine's own domain. */
export type Seen =
  | { readonly kind: 'absent' }
  | { readonly kind: 'foreign'; readonly what: string }
  | SeenDomain

export interface SeenDomain {
  readonly kind: 'domain'
  /** Definition for the next start. */
  readonly next: PlacedFacts
  readonly state: DomainState
  readonly autostart: boolean
  /** Whether libvirt keeps saved memory of the guest, with which the next start continues. */
  readonly savedMemory: boolean
}

export interface DomainState {
  /** Whether a QEMU process exists. */
  readonly active: boolean
  /** virsh's own word: `running`, `paused`, `in shutdown`, `shut off`, `crashed` … */
  readonly word: string
}

/** Looks for the machine's domain, and for files in its place. Foreign objects are only reported. */
export async function look(virsh: Virsh, places: Places, resource: LibvirtResource, run: Run): Promise<Seen> {
  const { name, machine } = resource
  const call = { what: `inspect domain '${name}'`, machine }
  const xml = await virsh.attempt(['dumpxml', '--inactive', name], call, run)
  if (xml.kind === 'failed') {
    if (xml.failure.complaint !== 'no-domain') throw virshError(xml.failure, call)
    const note = readNote(places, resource)
    return note.kind === 'foreign' ? { kind: 'foreign', what: note.what } : { kind: 'absent' }
  }
  const next = placedFacts(parseDomainXml(xml.stdout), resource)
  if (next.mark?.deployment !== resource.deployment.uuid || next.mark.machine !== machine) {
    return { kind: 'foreign', what: `domain '${name}'` }
  }
  const info = await virsh.attempt(['dominfo', name], call, run)
  // The domain may have disappeared between the two calls.
  if (info.kind === 'failed' && info.failure.complaint === 'no-domain') return { kind: 'absent' }
  if (info.kind === 'failed') throw virshError(info.failure, call)
  return { kind: 'domain', next, ...parseDominfo(info.stdout) }
}

/** Looks as `look` does, but throws for a foreign object. */
export async function lookAtOurs(
  virsh: Virsh,
  places: Places,
  resource: LibvirtResource,
  run: Run,
): Promise<Exclude<Seen, { kind: 'foreign' }>> {
  const seen = await look(virsh, places, resource, run)
  if (seen.kind === 'foreign') throw foreign(resource, seen.what)
  return seen
}

/** Parses the output of `virsh dominfo`: lines of the form `Key:   value`. */
export function parseDominfo(text: string): Pick<SeenDomain, 'state' | 'autostart' | 'savedMemory'> {
  const fields = new Map(
    text.split('\n').flatMap((line) => {
      const [, key, value] = /^([^:]+):\s*(.*)$/.exec(line) ?? []
      return key === undefined || value === undefined ? [] : [[key, value.trim()] as const]
    }),
  )
  const word = fields.get('State') ?? 'unknown'
  return {
    state: { word, active: !['shut off', 'crashed'].includes(word) },
    autostart: fields.get('Autostart') === 'enable',
    // The value is `unknown` if libvirt could not check.
    savedMemory: fields.get('Managed save') !== 'no',
  }
}

export async function inspect(
  parts: LibvirtParts,
  resource: LibvirtResource,
  run: Run,
): Promise<Observation> {
  const places = placesOf(parts, resource)
  try {
    const seen = await look(createVirsh(parts.local, places.uri), places, resource, run)
    if (seen.kind !== 'domain') return seen
    const { active, word } = seen.state
    // A paused guest, for example with a full disk, continues when the machine is started.
    return { kind: active && word !== 'paused' ? 'running' : 'stopped', detail: word }
  } catch (error) {
    if (!isConnectionError(error)) throw error
    return unknownState(error)
  }
}
