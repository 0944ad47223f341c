import { failure } from '../../core/errors.js'
import { resourceName } from '../../core/names.js'
import type { ResourceChange } from '../../core/provider.js'
import { shellQuote } from '../../core/shell-quote.js'
import { hostKeyFile, loginKeyFile } from '../resources.js'
import { portsOf } from './allocate.js'
import { type Job, journal, type Link, missingImage, recordOf, resourceFor, updateJob } from './job.js'

/** What an ACPI shutdown may take before the power is cut. */
const graceMs = 60_000

/**
 * Makes the resource as it is wanted. The intent and the name are on disk before anything exists, the
 * handle as soon as something does.
 */
export async function createResource(job: Job, changes: readonly ResourceChange[]): Promise<void> {
  if (changes.some((change) => change.needs === 'recreate')) await removeForRecreation(job)
  refuseLostDisks(job, changes)
  const known = recordOf(job)
  const resource = resourceName(job.session.record.uuid, job.machine)
  const action = known.handle === undefined ? 'create' : 'change'
  await ensureHostKey(job)
  journal(job, `machine.${action}`, { data: resource })
  updateJob(job, (draft) => {
    draft.intent = { action, resource, since: job.ops.now().toISOString() }
  })
  const handle = await job.provider.reconcile(
    await resourceFor(job),
    {
      allowRestart: job.request.allowReboot,
      allowRecreate: job.request.allowRecreate,
      checkpoint: (value) => updateJob(job, (draft) => Object.assign(draft, { handle: value })),
    },
    job.run,
  )
  updateJob(job, (draft) => {
    draft.handle = handle
    draft.config = job.definition.provider
    draft.intent = undefined
  })
  journal(job, `machine.${action}`, { result: 'done' })
  if (changes.length > 0) job.changed = true
}

/** Starts it; a machine stopped on purpose is started by `deploy` too. */
export async function startResource(link: Link): Promise<void> {
  journal(link, 'machine.start')
  const allocation = await link.provider.start(await resourceFor(link), link.run, othersPorts(link))
  updateJob(link, (draft) => {
    if (allocation !== undefined) draft.allocation = allocation
    draft.stoppedOnPurpose = undefined
  })
  if (allocation !== undefined) {
    const ports = link.provider.ports(allocation).map((port) => `127.0.0.1:${port}`)
    link.ops.events.emit({
      kind: 'notice',
      text: `machine '${link.machine}': somebody else holds one of its ports; it now has ${ports.join(', ')}`,
    })
  }
  link.changed = true
}

/** Ports of other machines, also those that are not written yet. */
function othersPorts({ ops, session, machine }: Link): ReadonlySet<number> {
  const own = session.record
  const others = ops.store.list().filter((record) => record.uuid !== own.uuid)
  return new Set([...others.flatMap((record) => portsOf(ops, record)), ...portsOf(ops, own, machine)])
}

/** Off and on again, for changes that need it. */
export async function restartResource(link: Link): Promise<void> {
  journal(link, 'machine.restart')
  await link.provider.stop(await resourceFor(link), { graceMs }, link.run)
  await startResource(link)
}

function refuseLostDisks({ machine, request }: Job, changes: readonly ResourceChange[]): void {
  const lost = changes.filter(({ needs }) => needs === 'new-disk').map(({ detail }) => detail)
  if (lost.length === 0 || request.allowRecreate) return
  throw failure('NEEDS_RECREATE', `machine '${machine}': ${lost.join('; ')} only with --allow-recreate`, {
    machine,
    hint: 'put the file back; or hydra-ops deploy --allow-recreate, and what was on it is lost',
  })
}

async function removeForRecreation(job: Job): Promise<void> {
  if (!job.request.allowRecreate) {
    throw failure(
      'NEEDS_RECREATE',
      `machine '${job.machine}' can only be changed by making it anew, which loses its disks`,
      {
        machine: job.machine,
        hint: 'hydra-ops deploy --allow-recreate',
      },
    )
  }
  await requireImage(job)
  journal(job, 'machine.recreate')
  updateJob(job, (draft) => {
    draft.intent = {
      action: 'destroy',
      resource: resourceName(job.session.record.uuid, job.machine),
      since: job.ops.now().toISOString(),
    }
  })
  await job.provider.destroy(await resourceFor(job), job.run)
  updateJob(job, (draft) => {
    draft.handle = undefined
    draft.deployed = undefined
    draft.unfinishedCopy = undefined
    draft.activation = undefined
    draft.tasks = {}
    draft.keys = {}
    draft.intent = undefined
  })
}

/** Refuses to remove a machine that could not be made again: its image is made before, at the barrier. */
async function requireImage(job: Job): Promise<void> {
  const reference = await missingImage(job)
  if (reference === undefined) return
  throw failure('NO_IMAGE', `machine '${job.machine}': its base image was not made yet`, {
    machine: job.machine,
    hint: `hydra-ops image build ${shellQuote(reference)}`,
  })
}

/** The key that logs in to every machine made; once, before machines are worked on in parallel. */
export async function ensureLoginKey(jobs: readonly Job[]): Promise<void> {
  const job = jobs.find((each) => each.provider.makesMachines)
  if (job !== undefined) await job.ops.ssh.ensureKeyPair(loginKeyFile(job.session.paths), job.run)
}

/** The machine's host key, made before the machine is. */
async function ensureHostKey(job: Job): Promise<void> {
  if (!job.provider.makesMachines) return
  const hostKey = await job.ops.ssh.ensureKeyPair(hostKeyFile(job.session.paths, job.machine), job.run)
  if (recordOf(job).hostKey !== hostKey) updateJob(job, (draft) => Object.assign(draft, { hostKey }))
}
