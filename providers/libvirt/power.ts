import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { failure, throwIfInterrupted } from '../../src/core/errors.js'
import type { Run } from '../../src/core/run.js'
import { freePort, isFree } from './allocation.js'
import type { LibvirtAllocation } from './config.js'
import { cutPower } from './destroy.js'
import { parseDomainXml } from './domain-facts.js'
import { lookAtOurs } from './look.js'
import { forwardChanges, forwardsOf, portTaken, replaceForwards } from './network.js'
import { type LibvirtParts, type LibvirtResource, type Places, placesOf } from './places.js'
import { defineXml } from './provision.js'
import { createVirsh, type Virsh, virshError } from './virsh.js'

const pollMs = 400

/** A guest that has not come far enough in its boot does not hear the button. */
const askAgainMs = 6_000

/** A guest that was told to shut down before we came. */
const endingMs = 60_000

/** Ports that strangers take between our look and QEMU's. */
const startAttempts = 5

/** Starts it. Where a stranger has its ssh port it gets another, and the new allocation is the answer. */
export async function startMachine(
  parts: LibvirtParts,
  resource: LibvirtResource,
  run: Run,
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
    await virsh.must(['resume', name], { what: `resume domain '${name}'`, machine }, run)
    return undefined
  }
  if (seen.state.word === 'in shutdown') await waitUntilOff(virsh, places, resource, endingMs, run)
  else if (seen.state.active) return undefined
  mkdirSync(dirname(resource.console), { recursive: true, mode: 0o700 })
  const allocation = await startWithFreePorts(virsh, places, resource, run)
  return allocation === resource.allocation ? undefined : allocation
}

async function startWithFreePorts(
  virsh: Virsh,
  places: Places,
  resource: LibvirtResource,
  run: Run,
): Promise<LibvirtAllocation> {
  const { name, machine } = resource
  const call = { what: `start domain '${name}'`, machine }
  const refused = new Set<number>()
  for (let attempt = 1; ; attempt += 1) {
    const allocation = await withFreePorts(resource, refused, run)
    await takeOnForwards(virsh, places, resource, allocation, run)
    const outcome = await virsh.attempt(['start', name], call, run)
    if (outcome.kind === 'done' || outcome.failure.complaint === 'already-active') return allocation
    const { port } = outcome.failure
    if (port === undefined || attempt === startAttempts) throw virshError(outcome.failure, call)
    refused.add(port)
  }
}

async function withFreePorts(
  resource: LibvirtResource,
  refused: ReadonlySet<number>,
  run: Run,
): Promise<LibvirtAllocation> {
  const { allocation } = resource
  for (const { host } of allocation.forwardPorts) {
    if (refused.has(host) || !(await isFree(host))) throw portTaken(resource, host)
  }
  if (!refused.has(allocation.sshPort) && (await isFree(allocation.sshPort))) return allocation
  const avoid = new Set([...refused, ...allocation.forwardPorts.map(({ host }) => host)])
  const sshPort = await freePort(avoid, allocation.sshPort + 1)
  run.log(
    `another program holds port ${allocation.sshPort} of 127.0.0.1: ssh is on port ${sshPort} from now on`,
  )
  return { ...allocation, sshPort }
}

/** The definition with these ports, and otherwise as it is. */
async function takeOnForwards(
  virsh: Virsh,
  places: Places,
  resource: LibvirtResource,
  allocation: LibvirtAllocation,
  run: Run,
): Promise<void> {
  const { name, machine } = resource
  const call = { what: `forward ports of domain '${name}'`, machine }
  const xml = await virsh.must(['dumpxml', '--inactive', name], call, run)
  const wanted = forwardsOf(allocation)
  const { added, removed } = forwardChanges(parseDomainXml(xml).forwards, wanted)
  if (added.length + removed.length === 0) return
  await defineXml(virsh, places, resource, replaceForwards(xml, wanted), run)
}

/** Asks the guest, again and again, and cuts its power when the time is over. */
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
  // A guest that stands still hears nothing.
  if (seen.state.word !== 'paused' && (await waitUntilOff(virsh, places, resource, graceMs, run))) return
  run.log(`it did not shut down within ${graceMs / 1000} s: cutting its power`)
  await cutPower(virsh, resource, run)
}

/** True when it is off; false when the time is over. */
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
    throwIfInterrupted(run.signal)
    if (Date.now() >= askAt) {
      // Off already, or ending: the look below tells.
      await virsh.attempt(['shutdown', name], call, run)
      askAt = Date.now() + askAgainMs
    }
    const seen = await lookAtOurs(virsh, places, resource, run)
    if (seen.kind === 'absent' || !seen.state.active) return true
    await sleep(Math.min(pollMs, Math.max(0, end - Date.now())), undefined, { signal: run.signal }).catch(
      () => {},
    )
  }
  return false
}
