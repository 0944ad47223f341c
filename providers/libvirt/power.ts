import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Run } from '../../src/core/run.js'
import { isReal, type Move } from '../common/moved.js'
import { forwardChanges, forwardsOf, startWithFreePorts } from '../common/ports.js'
import { cuttingPower, endingMs, notMade, waitUntilOff } from '../common/power.js'
import { requireBootFiles } from './boot-files.js'
import type { LibvirtAllocation } from './config.js'
import { cutPower } from './destroy.js'
import { followImage } from './disks.js'
import { parseDomainXml } from './domain-facts.js'
import { lookAtOurs } from './look.js'
import { movedXml, placedFacts } from './moved.js'
import { replaceForwards } from './network.js'
import { type LibvirtParts, type LibvirtResource, type Places, placesOf } from './places.js'
import { defineXml, sweepDefinition, withDefinition } from './provision.js'
import { createVirsh, type Virsh, virshError } from './virsh.js'

/** Starts the machine. Replaces ports that other programs hold, and then returns the new allocation. */
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
    throw notMade(machine, `domain '${name}'`)
  }
  if (seen.state.word === 'paused') {
    await resume(virsh, resource, run)
    return undefined
  }
  if (seen.state.word === 'in shutdown') await waitForShutdown(virsh, places, resource, endingMs, run)
  else if (seen.state.active) return undefined
  requireBootFiles(places, resource, seen.next)
  if (resource.handle !== undefined) await followImage(parts, resource.handle, run)
  const { move } = seen.next
  const moved = move !== undefined && isReal(move) ? move : undefined
  // A deploy may have moved the definition already, so the saved memory is checked separately.
  if (seen.savedMemory) await moveSavedMemory(virsh, places, resource, run)
  mkdirSync(dirname(resource.console), { recursive: true, mode: 0o700 })
  const call = { what: `start domain '${name}'`, machine }
  const start = async (allocation: LibvirtAllocation, isLast: boolean): Promise<number[]> => {
    await takeOn(virsh, places, resource, { allocation, moved }, run)
    const outcome = await virsh.attempt(['start', name], call, run)
    if (outcome.kind === 'done' || outcome.failure.complaint === 'already-active') return []
    const { port } = outcome.failure
    if (port === undefined || isLast) throw virshError(outcome.failure, call)
    return [port]
  }
  const allocation = await startWithFreePorts(resource.allocation, takenPorts, start, run)
  return allocation === resource.allocation ? undefined : allocation
}

/** Resumes a domain. A domain also counts as paused while a virsh that outlived its hydra-ops starts it. */
async function resume(virsh: Virsh, { name, machine }: LibvirtResource, run: Run): Promise<void> {
  const call = { what: `resume domain '${name}'`, machine }
  const outcome = await virsh.attempt(['resume', name], call, run)
  if (outcome.kind === 'failed' && outcome.failure.complaint !== 'already-active') {
    throw virshError(outcome.failure, call)
  }
}

/** Updates the paths in saved memory, which become outdated when the state folder moves. */
async function moveSavedMemory(
  virsh: Virsh,
  places: Places,
  resource: LibvirtResource,
  run: Run,
): Promise<void> {
  const { name, machine } = resource
  const memory = `the saved memory of domain '${name}'`
  const hint = `virsh -c ${places.uri} managedsave-remove ${name} discards the saved memory; the machine then boots from its disks`
  const xml = await virsh.must(
    ['managedsave-dumpxml', name, '--security-info'],
    { what: `read ${memory}`, machine, hint },
    run,
  )
  const { move } = placedFacts(parseDomainXml(xml), resource)
  if (move === undefined || !isReal(move)) return
  await withDefinition(places, movedXml(xml, move), (file) =>
    virsh.must(
      ['managedsave-define', name, file],
      { what: `update the file paths in ${memory}`, machine, hint },
      run,
    ),
  )
}

/** Applies the allocation's ports and the current paths; the rest of the definition stays unchanged. */
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

/** Asks the guest repeatedly to shut down, and cuts its power at the deadline. */
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
  // A paused guest ignores shutdown requests.
  if (seen.state.word !== 'paused' && (await waitForShutdown(virsh, places, resource, graceMs, run))) return
  run.log(cuttingPower(graceMs))
  await cutPower(virsh, resource, run)
}

/** Returns true when the machine is off; false at the deadline. */
async function waitForShutdown(
  virsh: Virsh,
  places: Places,
  resource: LibvirtResource,
  graceMs: number,
  run: Run,
): Promise<boolean> {
  const { name, machine } = resource
  const call = { what: `shut down domain '${name}'`, machine }
  const steps = {
    ask: () => virsh.attempt(['shutdown', name], call, run),
    isOff: async () => {
      const seen = await lookAtOurs(virsh, places, resource, run)
      return seen.kind === 'absent' || !seen.state.active
    },
  }
  return waitUntilOff(steps, graceMs, run)
}
