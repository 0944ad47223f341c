import { failure } from '../core/errors.js'
import type { Json } from '../core/json.js'
import { resourceName } from '../core/names.js'
import type { ResourceChange } from '../core/provider.js'
import { shellQuote } from '../core/shell-quote.js'
import {
  type DefinedMachine,
  journal,
  type MachineSession,
  missingImage,
  recordOf,
  resourceFor,
  secretsOf,
  updateJob,
} from './machine.js'
import { portsOf } from './resource.js'

/** Time for an ACPI shutdown before the power is cut. */
const graceMs = 60_000

/** Disruptions that a change of a resource may cause. */
export interface AllowedChanges {
  readonly allowRestart: boolean
  readonly allowRecreate: boolean
}

/**
 * Creates or changes the resource. The intent and the name are on the disk before anything exists. The handle is on the
 * disk as soon as something exists.
 */
export async function createResource(
  session: DefinedMachine,
  changes: readonly ResourceChange[],
  allowed: AllowedChanges,
): Promise<void> {
  refuseLoss(session, changes, allowed)
  if (changes.some((change) => change.needs === 'recreate')) await removeForRecreation(session)
  const known = recordOf(session)
  const resource = resourceName(session.deployment.record.uuid, session.machine)
  const action = known.handle === undefined ? 'create' : 'change'
  await ensureHostKey(session)
  await journal(session, `machine.${action}`, { data: resource })
  await updateJob(session, (draft) => {
    draft.intent = { action, resource, since: session.ops.now().toISOString() }
  })
  const handle = await session.provider.reconcile(
    await resourceFor(session),
    {
      ...allowed,
      checkpoint: (value) => updateJob(session, (draft) => Object.assign(draft, { handle: value })),
    },
    session.run,
  )
  await updateJob(session, (draft) => {
    draft.handle = handle
    draft.config = session.definition.provider
    draft.intent = undefined
  })
  await journal(session, `machine.${action}`, { result: 'done' })
  if (changes.length > 0) session.changed = true
}

/** Starts the machine, even if it was stopped on purpose. */
export async function startResource(session: MachineSession): Promise<void> {
  await journal(session, 'machine.start')
  const allocation = await session.provider.start(
    await resourceFor(session),
    session.run,
    takenPortsFor(session),
  )
  await updateJob(session, (draft) => {
    if (allocation !== undefined) draft.allocation = allocation
    draft.stoppedOnPurpose = undefined
  })
  sayMoved(session, allocation)
  session.changed = true
}

/** Reports the ports that a provider reassigned because another program uses an old port. */
export function sayMoved(session: MachineSession, allocation: Json | undefined): void {
  if (allocation === undefined) return
  const ports = session.provider.ports(allocation).map((port) => `127.0.0.1:${port}`)
  session.ops.events.emit({
    kind: 'notice',
    text: `machine '${session.machine}': another program uses one of its ports; the ports of the machine are now ${ports.join(', ')}`,
  })
}

/** Returns the function with which a provider queries the ports of other machines. */
export function takenPortsFor(session: MachineSession): () => Promise<ReadonlySet<number>> {
  return () => othersPorts(session)
}

/** Collects the ports of other machines, including ports that are not on the disk yet. */
async function othersPorts({ ops, deployment, machine }: MachineSession): Promise<ReadonlySet<number>> {
  const own = deployment.record
  const others = await ops.store.list(own.uuid)
  return new Set([...others.flatMap((record) => portsOf(ops, record)), ...portsOf(ops, own, machine)])
}

/** Stops and starts the machine, for changes that need a restart. */
export async function restartResource(session: MachineSession): Promise<void> {
  await journal(session, 'machine.restart')
  await session.provider.stop(await resourceFor(session), { graceMs }, session.run)
  await startResource(session)
}

/**
 * Refuses changes that lose data on a disk, unless the changes are allowed. The error gives the reason for each change,
 * and a way to save the data.
 */
function refuseLoss(
  { machine }: MachineSession,
  changes: readonly ResourceChange[],
  { allowRecreate }: AllowedChanges,
): void {
  const losses = changes.filter(({ needs }) => needs === 'recreate' || needs === 'new-disk')
  if (losses.length === 0 || allowRecreate) return
  const all = losses.some(({ needs }) => needs === 'recreate')
  const allow = `run hydra-ops deploy --allow-recreate, which destroys the data on ${all ? 'its disks' : 'that disk'}`
  const hints = [...new Set(losses.flatMap(({ hint }) => hint ?? []))]
  const details = losses.map(({ detail }) => detail).join('; ')
  throw failure('NEEDS_RECREATE', `machine '${machine}' needs --allow-recreate: ${details}`, {
    machine,
    hint: [...hints, allow].join('; or '),
  })
}

async function removeForRecreation(session: DefinedMachine): Promise<void> {
  await requireImage(session)
  await journal(session, 'machine.recreate')
  await updateJob(session, (draft) => {
    draft.intent = {
      action: 'destroy',
      resource: resourceName(session.deployment.record.uuid, session.machine),
      since: session.ops.now().toISOString(),
    }
  })
  await session.provider.destroy(await resourceFor(session), session.run)
  await updateJob(session, (draft) => {
    draft.handle = undefined
    draft.deployed = undefined
    draft.unfinishedCopy = undefined
    draft.activation = undefined
    draft.tasks = {}
    draft.keys = {}
    draft.snapshots = undefined
    draft.intent = undefined
  })
}

/**
 * Refuses to remove a machine whose image is missing, because this run would then be unable to recreate the machine.
 */
async function requireImage(session: DefinedMachine): Promise<void> {
  const missing = await missingImage(session)
  if (missing === undefined) return
  throw failure('NO_IMAGE', `machine '${session.machine}': its base image has not been built yet`, {
    machine: session.machine,
    hint: `hydra-ops image build ${shellQuote(missing.reference)}`,
  })
}

/** Creates the key that logs in to every created machine: once, before the parallel work begins. */
export async function ensureLoginKey(sessions: readonly MachineSession[]): Promise<void> {
  const made = sessions.find((each) => each.provider.makesMachines)
  if (made !== undefined) await made.ops.ssh.ensureKeyPair(secretsOf(made).loginKeyFile, made.run)
}

/** Creates the machine's host key before the machine. */
async function ensureHostKey(session: DefinedMachine): Promise<void> {
  if (!session.provider.makesMachines) return
  const hostKey = await session.ops.ssh.ensureKeyPair(
    secretsOf(session).hostKeyFile(session.machine),
    session.run,
  )
  if (recordOf(session).hostKey !== hostKey)
    await updateJob(session, (draft) => Object.assign(draft, { hostKey }))
}
