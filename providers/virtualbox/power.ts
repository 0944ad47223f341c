import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Run } from '../../src/core/run.js'
import { withNotedHandle } from '../common/places.js'
import { portTaken, startWithFreePorts } from '../common/ports.js'
import { cuttingPower, endingMs, notMade, waitUntilOff } from '../common/power.js'
import { requireBootFiles } from './boot-files.js'
import { portOption, type VirtualBoxAllocation } from './config.js'
import { attachedDisks } from './define.js'
import { cutPower } from './destroy.js'
import { startHint } from './doctor.js'
import { isActive, isStuck, lookAtChains, lookAtOurs, type SeenMachine } from './look.js'
import { registerHere } from './moved.js'
import { lostPorts, ruleSteps } from './network.js'
import { type Places, placesOf, readNote, type VirtualBoxParts, type VirtualBoxResource } from './places.js'
import { followMove, settle } from './provision.js'
import { createVBoxManage, type VBoxManage, vboxError } from './vboxmanage.js'
import { wantedHandle, wantedSpec } from './wanted.js'

/** Time to wait for a start that another process began. */
const beginningMs = 60_000

/** Starts the machine. Replaces ports that other programs hold, and then returns the new allocation. */
export async function startMachine(
  parts: VirtualBoxParts,
  given: VirtualBoxResource,
  run: Run,
  takenPorts: () => Promise<ReadonlySet<number>> = async () => new Set(),
): Promise<VirtualBoxAllocation | undefined> {
  const places = placesOf(given)
  const vbox = createVBoxManage(parts)
  const noted = withNotedHandle(given, readNote(places, given))
  const resource = noted.handle === undefined ? noted : { ...noted, handle: wantedHandle(places, noted) }
  let seen = await readyToStart(vbox, places, resource, run)
  if (seen === undefined) return undefined
  if (seen.facts.state === 'paused') {
    const call = { what: `resume machine '${resource.name}'`, machine: resource.machine }
    await vbox.must(['controlvm', seen.facts.uuid, 'resume'], call, run)
    return undefined
  }
  if (isStuck(seen.facts)) {
    await cutPower(vbox, places, resource, run)
    seen = await ourMachine(vbox, places, resource, run)
  }
  const { handle } = resource
  if (handle !== undefined) {
    const media = await lookAtChains(vbox, resource, seen.facts, run)
    const present = attachedDisks(seen.facts, handle, media, places)
    requireBootFiles(places, resource, new Set([...present.values()].flatMap((path) => path ?? [])))
    await settle(parts, vbox, { resource, handle, seen }, run)
  }
  mkdirSync(dirname(resource.console), { recursive: true, mode: 0o700 })
  const start = (allocation: VirtualBoxAllocation, isLast: boolean) =>
    startOnce(parts, vbox, { places, resource: { ...resource, allocation }, isLast }, run)
  const allocation = await startWithFreePorts(resource.allocation, takenPorts, start, run)
  return allocation === resource.allocation ? undefined : allocation
}

/**
 * Waits until a running operation ends. Returns a machine that can be started or resumed; undefined when the machine
 * runs.
 */
async function readyToStart(
  vbox: VBoxManage,
  places: Places,
  resource: VirtualBoxResource,
  run: Run,
): Promise<SeenMachine | undefined> {
  let seen = await ourMachine(vbox, places, resource, run)
  if (['starting', 'restoring'].includes(seen.facts.state)) {
    const began = {
      ask: async () => {},
      isOff: async () => !isBeginning(await ourMachine(vbox, places, resource, run)),
    }
    await waitUntilOff(began, beginningMs, run)
    seen = await ourMachine(vbox, places, resource, run)
  }
  if (['stopping', 'saving'].includes(seen.facts.state)) {
    const ended = {
      ask: async () => {},
      isOff: async () => isOff(await ourMachine(vbox, places, resource, run)),
    }
    await waitUntilOff(ended, endingMs, run)
    seen = await ourMachine(vbox, places, resource, run)
  }
  if (isStuck(seen.facts) || !isActive(seen.facts)) return seen
  return undefined
}

function isBeginning({ facts }: SeenMachine): boolean {
  return ['starting', 'restoring'].includes(facts.state)
}

function isOff({ facts }: SeenMachine): boolean {
  return !isActive(facts) && !facts.locked
}

/** Looks at the machine, which must exist. A moved machine is first registered at its current path. */
export async function ourMachine(
  vbox: VBoxManage,
  places: Places,
  resource: VirtualBoxResource,
  run: Run,
): Promise<SeenMachine> {
  const { name, machine } = resource
  let seen = await lookAtOurs(vbox, places, resource, run)
  if (seen.kind === 'inaccessible') {
    await registerHere(vbox, places, resource, seen.uuid, run)
    seen = await lookAtOurs(vbox, places, resource, run)
  }
  if (seen.kind === 'machine') seen = await followMove(vbox, places, resource, seen, run)
  if (seen.kind === 'machine') return seen
  throw notMade(machine, `machine '${name}' in VirtualBox`)
}

interface OneStart {
  readonly places: Places
  readonly resource: VirtualBoxResource
  readonly isLast: boolean
}

/**
 * Starts the machine with the given ports, or applies them to a running machine. Returns the ports that another
 * program holds.
 */
async function startOnce(
  parts: VirtualBoxParts,
  vbox: VBoxManage,
  { places, resource, isLast }: OneStart,
  run: Run,
): Promise<number[]> {
  const { machine, name, allocation, config, handle } = resource
  const call = { what: `start machine '${name}'`, machine }
  const { facts } = await ourMachine(vbox, places, resource, run)
  const wanted = handle === undefined ? [] : wantedSpec(resource, handle).forwards
  const steps = ruleSteps(facts, wanted, allocation.sshPort)
  if (isActive(facts)) {
    for (const step of steps) await vbox.must(['controlvm', facts.uuid, 'natpf1', ...step], call, run)
  } else {
    const args = steps.flatMap((step) => ['--natpf1', ...step])
    if (args.length > 0) await vbox.mustUnlocked(['modifyvm', facts.uuid, ...args], call, run)
    const type = config.headless ? 'headless' : 'gui'
    const outcome = await vbox.attemptUnlocked(['startvm', facts.uuid, '--type', type], call, run)
    if (outcome.kind === 'failed' && !(await isStarted(vbox, places, resource, run))) {
      throw vboxError(outcome.failure, { ...call, hint: await startHint(parts, run) })
    }
  }
  const lost = lostPorts(facts, wanted)
  if (lost[0] !== undefined && isLast) throw portTaken(machine, lost[0], portOption)
  return lost
}

/** Tells whether a VBoxManage that outlived its hydra-ops has started the machine in the meantime. */
async function isStarted(
  vbox: VBoxManage,
  places: Places,
  resource: VirtualBoxResource,
  run: Run,
): Promise<boolean> {
  return isActive((await ourMachine(vbox, places, resource, run)).facts)
}

/** Asks the guest repeatedly to shut down, and cuts its power at the deadline. */
export async function stopMachine(
  parts: VirtualBoxParts,
  resource: VirtualBoxResource,
  graceMs: number,
  run: Run,
): Promise<void> {
  const places = placesOf(resource)
  const vbox = createVBoxManage(parts)
  const seen = await lookAtOurs(vbox, places, resource, run)
  if (seen.kind !== 'machine' || !isActive(seen.facts)) return
  const { uuid } = seen.facts
  const call = { what: `shut down machine '${resource.name}'`, machine: resource.machine }
  const steps = {
    ask: () => vbox.attempt(['controlvm', uuid, 'acpipowerbutton'], call, run),
    isOff: async () => {
      const now = await lookAtOurs(vbox, places, resource, run)
      return now.kind !== 'machine' || isOff(now)
    },
  }
  // A paused or crashed guest ignores shutdown requests.
  if (!isStuck(seen.facts) && (await waitUntilOff(steps, graceMs, run))) return
  run.log(cuttingPower(graceMs))
  await cutPower(vbox, places, resource, run)
}
