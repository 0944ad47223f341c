import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { failure, throwIfAborted } from '../../src/core/errors.js'
import { pause } from '../../src/core/pause.js'
import type { Run } from '../../src/core/run.js'
import { freePort, isFree, ports } from './allocation.js'
import { requireBootFiles } from './boot-files.js'
import type { LibvirtAllocation } from './config.js'
import { cutPower } from './destroy.js'
import { followImage } from './disks.js'
import { parseDomainXml } from './domain-facts.js'
import { lookAtOurs } from './look.js'
import { isReal, type Move, movedXml, placedFacts } from './moved.js'
import { forwardChanges, forwardsOf, replaceForwards } from './network.js'
import { type LibvirtParts, type LibvirtResource, type Places, placesOf } from './places.js'
import { defineXml, sweepDefinition, withDefinition } from './provision.js'
import { createVirsh, type Virsh, virshError } from './virsh.js'

const pollMs = 400

/** Interval of requests: a guest early in its boot ignores the power button. */
const askAgainMs = 6_000

/** Time for a guest whose shutdown began before we came. */
const endingMs = 60_000

/** Number of attempts when other programs take ports between our look and QEMU's start. */
const startAttempts = 5

/** Starts the machine. A port that another program has is replaced, and the new allocation is returned. */
export async function startMachine(
  parts: LibvirtParts,
  resource: LibvirtResource,
  run: Run,
  takenPorts: () => Promise<ReadonlySet<number>> = async () => new Set(),
): Promise<LibvirtAllocation | undefined> {
  const places = placesOf(parts, resource)
  const virsh = createVirsh(parts.local, places.uri)
  const { name, machine } = resource
  const seen = await lookAtOurs(virsh, places, resource, run)
  if (seen.kind === 'absent') {
    throw failure('NOT_MADE', `machine '${machine}': there is no domain '${name}'`, {
      machine,
      hint: 'hydra-ops deploy',
    })
  }
  if (seen.state.word === 'paused') {
    await resume(virsh, resource, run)
    return undefined
  }
  if (seen.state.word === 'in shutdown') await waitUntilOff(virsh, places, resource, endingMs, run)
  else if (seen.state.active) return undefined
  requireBootFiles(places, resource, seen.next)
  if (resource.handle !== undefined) await followImage(parts, resource.handle, run)
  const { move } = seen.next
  const moved = move !== undefined && isReal(move) ? move : undefined
  // A deploy may have moved the definition already, so only the memory is left.
  if (seen.savedMemory) await moveSavedMemory(virsh, places, resource, run)
  mkdirSync(dirname(resource.console), { recursive: true, mode: 0o700 })
  const allocation = await startWithFreePorts(virsh, places, resource, { takenPorts, moved }, run)
  return allocation === resource.allocation ? undefined : allocation
}

/** Resumes a domain. A virsh that outlived its hydra-ops may be starting it: such a domain is paused until it runs. */
async function resume(virsh: Virsh, { name, machine }: LibvirtResource, run: Run): Promise<void> {
  const call = { what: `resume domain '${name}'`, machine }
  const outcome = await virsh.attempt(['resume', name], call, run)
  if (outcome.kind === 'failed' && outcome.failure.complaint !== 'already-active') {
    throw virshError(outcome.failure, call)
  }
}

async function startWithFreePorts(
  virsh: Virsh,
  places: Places,
  resource: LibvirtResource,
  {
    takenPorts,
    moved,
  }: { readonly takenPorts: () => Promise<ReadonlySet<number>>; readonly moved: Move | undefined },
  run: Run,
): Promise<LibvirtAllocation> {
  const { name, machine } = resource
  const call = { what: `start domain '${name}'`, machine }
  const refused = new Set<number>()
  let { allocation } = resource
  for (let attempt = 1; ; attempt += 1) {
    allocation = await withFreePorts(allocation, refused, await takenPorts(), run)
    await takeOn(virsh, places, resource, { allocation, moved }, run)
    const outcome = await virsh.attempt(['start', name], call, run)
    if (outcome.kind === 'done' || outcome.failure.complaint === 'already-active') return allocation
    const { port } = outcome.failure
    if (port === undefined || attempt === startAttempts) throw virshError(outcome.failure, call)
    refused.add(port)
  }
}

/** Returns the same allocation where all its ports are free, or else one with other ports. */
async function withFreePorts(
  allocation: LibvirtAllocation,
  refused: ReadonlySet<number>,
  takenPorts: ReadonlySet<number>,
  run: Run,
): Promise<LibvirtAllocation> {
  const avoid = new Set([...refused, ...takenPorts, ...ports(allocation)])
  let moved = false
  const free = async (port: number, what: string): Promise<number> => {
    if (!refused.has(port) && (await isFree(port))) return port
    const other = await freePort(avoid, port + 1)
    avoid.add(other)
    moved = true
    run.log(`another program holds port ${port} of 127.0.0.1: ${what} is on port ${other} from now on`)
    return other
  }
  const sshPort = await free(allocation.sshPort, 'ssh')
  const forwardPorts: LibvirtAllocation['forwardPorts'] = []
  for (const forward of allocation.forwardPorts) {
    const host = await free(forward.host, `port ${forward.guest} of the guest`)
    forwardPorts.push(
      host === forward.host ? forward : { ...forward, host, asked: forward.asked ?? forward.host },
    )
  }
  return moved ? { ...allocation, sshPort, forwardPorts } : allocation
}

/** Corrects memory that was saved before a move of the state folder: it names the files at their old place. */
async function moveSavedMemory(
  virsh: Virsh,
  places: Places,
  resource: LibvirtResource,
  run: Run,
): Promise<void> {
  const { name, machine } = resource
  const memory = `the saved memory of domain '${name}'`
  const hint = `virsh -c ${places.uri} managedsave-remove ${name}; it then boots from its disks, and what it had in memory is lost`
  const xml = await virsh.must(
    ['managedsave-dumpxml', name, '--security-info'],
    { what: `look at ${memory}`, machine, hint },
    run,
  )
  const { move } = placedFacts(parseDomainXml(xml), resource)
  if (move === undefined || !isReal(move)) return
  await withDefinition(places, movedXml(xml, move), (file) =>
    virsh.must(
      ['managedsave-define', name, file],
      { what: `name the moved files in ${memory}`, machine, hint },
      run,
    ),
  )
}

/** Applies these ports and the present paths; the rest of the definition stays unchanged. */
async function takeOn(
  virsh: Virsh,
  places: Places,
  resource: LibvirtResource,
  { allocation, moved }: { readonly allocation: LibvirtAllocation; readonly moved: Move | undefined },
  run: Run,
): Promise<void> {
  const { name, machine } = resource
  const call = { what: `forward ports of domain '${name}'`, machine }
  const xml = await virsh.must(['dumpxml', '--inactive', name], call, run)
  const wanted = forwardsOf(allocation)
  const { added, removed } = forwardChanges(parseDomainXml(xml).forwards, wanted)
  sweepDefinition(places)
  if (added.length + removed.length === 0 && moved === undefined) return
  const placed = moved === undefined ? xml : movedXml(xml, moved)
  await defineXml(virsh, places, resource, replaceForwards(placed, wanted), run)
}

/** Asks the guest repeatedly, and cuts its power at the deadline. */
export async function stopMachine(
  parts: LibvirtParts,
  resource: LibvirtResource,
  graceMs: number,
  run: Run,
): Promise<void> {
  const places = placesOf(parts, resource)
  const virsh = createVirsh(parts.local, places.uri)
  const seen = await lookAtOurs(virsh, places, resource, run)
  if (seen.kind === 'absent' || !seen.state.active) return
  // A paused guest ignores requests.
  if (seen.state.word !== 'paused' && (await waitUntilOff(virsh, places, resource, graceMs, run))) return
  run.log(`it did not shut down within ${graceMs / 1000} s: cutting its power`)
  await cutPower(virsh, resource, run)
}

/** Returns true when the machine is off; false at the deadline. */
async function waitUntilOff(
  virsh: Virsh,
  places: Places,
  resource: LibvirtResource,
  graceMs: number,
  run: Run,
): Promise<boolean> {
  const { name, machine } = resource
  const call = { what: `shut down domain '${name}'`, machine }
  const end = Date.now() + graceMs
  let askAt = Date.now()
  while (Date.now() < end) {
    throwIfAborted(run.signal)
    if (Date.now() >= askAt) {
      // The machine may be off already, or ending: the look below tells.
      await virsh.attempt(['shutdown', name], call, run)
      askAt = Date.now() + askAgainMs
    }
    const seen = await lookAtOurs(virsh, places, resource, run)
    if (seen.kind === 'absent' || !seen.state.active) return true
    await pause(Math.min(pollMs, Math.max(0, end - Date.now())), run.signal)
  }
  return false
}
