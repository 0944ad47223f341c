import type { DeployedClosure, MachineRecord } from '../core/deployment.js'
import { sameJson } from '../core/json.js'
import type { StorePath } from '../core/names.js'
import type { MachinePlan, PlanItem } from '../core/plan.js'
import type { Observation, ResourceChange } from '../core/provider.js'
import { recordOf } from '../machine/machine.js'
import { systemOf } from '../systems/systems.js'
import type { Assessment } from './assess.js'
import { bytesOf, mebibytes } from './copy-closure.js'
import { askMachine, comesFromHydra } from './fetch-closure.js'
import { originItem } from './from-hydra.js'
import { activationDue, type Job } from './job.js'
import type { MachineState } from './look.js'
import { remembered, unseenItems } from './plan-unseen.js'
import type { DeployRequest } from './request.js'

/** Plans a deploy to one machine from its assessment. */
export async function planMachine(job: Job, seen: Assessment): Promise<MachinePlan> {
  if (job.request.mode === 'dry-activate') return planTrial(job, seen)
  const items = [
    ...imageItems(seen),
    ...resourceItems(job, seen),
    ...startItems(seen.observation),
    ...(await closureItems(job, seen)),
    ...(await itemsOfMode(job, seen)),
    ...rebootItems(job, seen),
  ]
  return {
    machine: job.machine,
    items,
    ...(seen.unreachable === undefined ? {} : { unknown: seen.unreachable }),
  }
}

/** Plans a dry run of a switch, which creates and starts nothing. */
async function planTrial(job: Job, seen: Assessment): Promise<MachinePlan> {
  const unknown = seen.look === undefined ? (seen.unreachable ?? 'the machine is not running') : undefined
  const items = seen.look === undefined ? [] : await closureItems(job, seen)
  return { machine: job.machine, items, ...(unknown === undefined ? {} : { unknown }) }
}

/**
 * Lists the keys, packages and set-up tasks that the deploy delivers; a partial activation delivers only keys, or
 * nothing.
 */
async function itemsOfMode(job: Job, seen: Assessment): Promise<readonly PlanItem[]> {
  const { mode } = job.request
  if (mode === 'boot') return []
  const items = seen.look?.items ?? (await unseenItems(job, seen))
  return mode === 'switch' ? items : items.filter(({ subject }) => subject === 'keys')
}

const modeNotes = {
  switch: undefined,
  boot: 'from the next boot on (--boot)',
  test: 'until the next boot (--test)',
  'dry-activate': 'only shows what a switch would do (--dry-activate)',
} as const

function imageItems(seen: Assessment): PlanItem[] {
  if (seen.missingImage === undefined) return []
  const { reference, nixos } = seen.missingImage
  const detail =
    nixos === undefined ? reference : `${reference} from the nixpkgs of the machine (experimental)`
  return [{ subject: 'image', action: 'build', detail }]
}

function resourceItems(job: Job, seen: Assessment): PlanItem[] {
  const restartable = seen.observation.kind === 'running'
  return seen.changes.map((change) => ({
    subject: job.provider.name,
    action: change.action,
    detail: change.action === 'create' ? `${change.detail}${portsNote(job)}` : change.detail,
    note: noteOf(job, change, restartable),
  }))
}

function noteOf(job: Job, change: ResourceChange, running: boolean): string | undefined {
  if (change.needs === 'recreate')
    return job.request.allowRecreate ? lostWithIt(recordOf(job)) : 'needs --allow-recreate'
  if (change.needs === 'new-disk')
    return job.request.allowRecreate ? 'the data on that disk is lost' : 'needs --allow-recreate'
  if (change.needs !== 'restart' || !running) return undefined
  return job.request.allowReboot
    ? 'restart needed'
    : 'restart needed: at the next start, or now with --allow-reboot'
}

function lostWithIt({ snapshots }: MachineRecord): string {
  return snapshots === undefined
    ? 'the data on its disks is lost'
    : 'the data on its disks and its snapshots are lost'
}

/** Lists the ports of a machine. Ports that are not recorded yet are only proposed, and may still change. */
function portsNote(job: Job): string {
  const ports = job.provider.ports(recordOf(job).allocation)
  if (ports.length === 0) return ''
  const written = job.deployment.written.machines[job.machine]?.allocation
  const isWritten = written !== undefined && sameJson(written, recordOf(job).allocation)
  return ` · ${isWritten ? 'ports' : 'proposed ports'} ${ports.map((port) => `127.0.0.1:${port}`).join(', ')}`
}

function startItems(observation: Observation): PlanItem[] {
  if (observation.kind !== 'stopped') return []
  return [{ subject: 'machine', action: 'start', detail: 'currently stopped' }]
}

async function closureItems(job: Job, seen: Assessment): Promise<PlanItem[]> {
  const { wanted } = seen
  if (wanted === undefined) return []
  const known = remembered(job, seen)?.deployed
  const present = seen.look === undefined ? known?.path : seen.look.survey.profile
  if (!activationDue(job, present, wanted)) return []
  if (present === wanted) {
    return [{ subject: 'closure', action: 'activate', detail: 'again (always-activate is set)' }]
  }
  const copy = await copyItem(job, seen, wanted)
  const note = [copy.note, modeNotes[job.request.mode]].flatMap((each) => each ?? []).join('; ')
  const build = job.request.builds.get(job.machine)
  const from = build === undefined ? [] : [originItem(build, recordOf(job).deployed?.hydra)]
  const items: PlanItem[] = [note === '' ? copy : { ...copy, note }, ...from, ...(seen.differences ?? [])]
  if (wanted !== job.definition.outPath) return items
  const { files, units } = contentsOf(job, wanted)
  items.push(...differences('files', known?.files, files))
  items.push(...differences('units', known?.units, units))
  items.push(...(seen.look?.system.dropped ?? []))
  return items
}

async function copyItem(
  job: Job,
  seen: Assessment,
  wanted: NonNullable<Assessment['wanted']>,
): Promise<PlanItem> {
  if (comesFromHydra(job)) return fetchItem(job, seen, wanted)
  if (!(await job.ops.nix.isBuilt(wanted))) {
    return {
      subject: 'closure',
      action: 'build',
      detail: 'not built yet; copied after the build',
      note: wanted,
    }
  }
  const closure = await job.ops.nix.closure(wanted, job.run)
  const host = job.host
  const missing =
    host === undefined || seen.look?.survey.hasNix !== true
      ? closure.paths
      : await job.ops.nix.missingOn(host, closure.paths, job.run)
  const way = host === undefined ? '' : ` · ${job.ops.nix.copyMethod(host)}`
  return {
    subject: 'closure',
    action: missing.length === 0 ? 'activate' : 'copy',
    detail:
      missing.length === 0
        ? 'the machine has all paths'
        : `${missing.length} of ${closure.paths.length} paths, ${mebibytes(bytesOf(closure, missing))}${way}`,
  }
}

async function fetchItem(
  job: Job,
  seen: Assessment,
  wanted: NonNullable<Assessment['wanted']>,
): Promise<PlanItem> {
  const fetch = { subject: 'closure', action: 'fetch', note: wanted } as const
  const asked = await askMachine(job, seen)
  if (asked === undefined) return { ...fetch, detail: 'from the caches of the machine, or through this host' }
  if (asked.kind === 'valid')
    return { subject: 'closure', action: 'activate', detail: 'the machine has all paths', note: wanted }
  if (asked.kind === 'absent')
    return { ...fetch, detail: 'through this host: the caches of the machine lack the path' }
  return { ...fetch, detail: `${asked.paths} paths, ${mebibytes(asked.bytes)}, by the machine itself` }
}

/** Returns the reason why the deploy ends with a reboot from inside; `undefined` means no reboot. */
export function rebootReason(
  { until, mode, forceReboot, allowReboot }: DeployRequest,
  look: Pick<MachineState, 'survey'> | undefined,
): string | undefined {
  // A partial deploy ends before any reboot.
  if (until !== undefined || mode !== 'switch') return undefined
  if (forceReboot) return 'requested by --force-reboot'
  return allowReboot ? look?.survey.rebootReason : undefined
}

function rebootItems(job: Job, { look }: Assessment): PlanItem[] {
  const reboot = { subject: 'machine', action: 'reboot' } as const
  const reason = rebootReason(job.request, look)
  if (reason !== undefined) return [{ ...reboot, detail: reason }]
  const needed = look?.survey.rebootReason
  return needed === undefined ? [] : [{ ...reboot, detail: needed, note: 'needs --allow-reboot' }]
}

/** Returns the known contents of a closure; a closure from `--closure` has no known contents. */
export function contentsOf(job: Job, closure: StorePath): Pick<DeployedClosure, 'files' | 'units'> {
  if (closure !== job.definition.outPath) return { files: {}, units: {} }
  return systemOf(job.definition).contents(job.definition)
}

function differences(
  subject: string,
  before: DeployedClosure['files'] | undefined,
  after: Record<string, string>,
): PlanItem[] {
  const old = before ?? {}
  const names = (action: PlanItem['action'], list: string[]): PlanItem[] =>
    list.length === 0 ? [] : [{ subject, action, detail: list.join(', ') }]
  return [
    ...names(
      'add',
      Object.keys(after).filter((name) => !Object.hasOwn(old, name)),
    ),
    ...names(
      'replace',
      Object.keys(after).filter((name) => Object.hasOwn(old, name) && old[name] !== after[name]),
    ),
    ...names(
      'remove',
      Object.keys(old).filter((name) => !Object.hasOwn(after, name)),
    ),
  ]
}
