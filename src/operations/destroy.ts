import { existsSync, readdirSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Ops } from '../core/context.js'
import type { MachineRecord } from '../core/deployment.js'
import { exitCodes, OpsError } from '../core/errors.js'
import type { MachineResult } from '../core/events.js'
import type { MachineName } from '../core/names.js'
import { resourceName } from '../core/names.js'
import type { Run } from '../core/run.js'
import { machineRecord, type Session, updateMachine } from './deploy/session.js'
import { forgetGeneratedSecrets } from './generated-secret.js'
import { onMachines } from './on-machines.js'
import { hostKeyFile, resourceOf } from './resources.js'
import { selectRecordedMachines } from './select-by-tag.js'
import type { Selection } from './selection.js'

/** Destroys machines and what belongs to them. Asks first, naming each. */
export async function destroyMachines(
  ops: Ops,
  request: { deployment: string | undefined; selection: Selection; yes: boolean; maxConcurrent: number },
): Promise<MachineResult[]> {
  const record = ops.store.resolve(request.deployment)
  const quiet: Run = { signal: ops.signal, log: () => {} }
  const machines = await selectRecordedMachines(ops, record, request.selection, quiet)
  const made = machines.filter((machine) => !nothingMade(ops, machineRecord(record, machine)))
  if (!request.yes && made.length > 0) {
    const name = record.name ?? record.uuid
    const sure = await ops.questions.confirm(
      `destroy ${made.join(', ')} of deployment '${name}', with their disks?`,
    )
    if (!sure) throw new OpsError('REFUSED', exitCodes.failed, 'nothing was destroyed')
  }
  // Those that were named in the question, and no others.
  const selection = { include: machines }
  return onMachines(ops, { ...request, selection, verb: 'destroy' }, async (session, machine, run) => {
    const nothing = nothingMade(ops, machineRecord(session.record, machine))
    // The provider sweeps all the same: a disk may have been left by a crash of long ago.
    await destroyMachine(ops, session, machine, run)
    return nothing ? { unchanged: 'there was nothing to destroy: it was never made' } : true
  })
}

/** Is the machine one of which only a plan was written? */
function nothingMade(ops: Ops, { provider, handle, intent }: MachineRecord): boolean {
  return ops.providers.named(provider).makesMachines && handle === undefined && intent === undefined
}

/**
 * Removes one machine, then forgets it. The intent is written first; a machine that is gone already, or a
 * crash half-way, ends the same way when it is called again.
 */
export async function destroyMachine(
  ops: Ops,
  session: Session,
  machine: MachineName,
  run: Run,
): Promise<void> {
  const known = machineRecord(session.record, machine)
  const provider = ops.providers.named(known.provider)
  const resource = resourceName(session.record.uuid, machine)
  session.journal({ event: 'machine.destroy', machine, data: resource })
  updateMachine(session, machine, (draft) => {
    draft.intent = { action: 'destroy', resource, since: ops.now().toISOString() }
  })
  await provider.destroy(resourceOf(ops, session.record, machine), run)
  const secrets = removeTraces(session, machine)
  session.update((draft) => {
    delete draft.machines[machine]
  })
  session.journal({ event: 'machine.destroy', machine, result: 'done' })
  const what = provider.makesMachines ? 'destroyed' : 'forgotten (the host itself is untouched)'
  run.log(secrets.length === 0 ? what : `${what}, with the generated secrets ${secrets.join(', ')}`)
}

/**
 * Removes what is kept of a machine besides its record: host key, generated secrets, ssh configuration, GC roots of
 * its closures. Disks and console are the provider's; logs and journal stay, as history. Returns names of secrets.
 */
function removeTraces(session: Session, machine: MachineName): string[] {
  rmSync(dirname(hostKeyFile(session.paths, machine)), { recursive: true, force: true })
  removeSshFiles(session, machine)
  removeRoots(session, machine)
  return forgetGeneratedSecrets(session.paths, machine, Object.keys(session.record.machines))
}

/** Each is named after its machines, with `+` between them. */
function removeSshFiles({ paths }: Session, machine: MachineName): void {
  const folder = join(dirname(paths.sshConfig), 'ssh')
  if (!existsSync(folder)) return
  for (const file of readdirSync(folder)) {
    const machines = file.replace(/\.(?:config|known_hosts)$/, '').split('+')
    if (machines.includes(machine)) rmSync(join(folder, file), { force: true })
  }
}

function removeRoots({ paths }: Session, machine: MachineName): void {
  const { gcroots } = paths
  if (!existsSync(gcroots)) return
  const root = new RegExp(`^${machine.replaceAll('.', '\\.')}(?:\\+built)?-\\d+$`)
  for (const name of readdirSync(gcroots)) if (root.test(name)) rmSync(join(gcroots, name), { force: true })
}
