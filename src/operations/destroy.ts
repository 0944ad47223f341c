import { existsSync, readdirSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Ops } from '../core/context.js'
import type { DeploymentRecord } from '../core/deployment.js'
import { exitCodes, failure, OpsError } from '../core/errors.js'
import type { MachineResult } from '../core/events.js'
import type { MachineName } from '../core/names.js'
import { resourceName } from '../core/names.js'
import type { Run } from '../core/run.js'
import { settleAll } from '../core/settle.js'
import { machineRecord, type Session, updateMachine } from './deploy/session.js'
import { forgetGeneratedSecret, generatedSecretsOf } from './generated-secret.js'
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
  const found = await settleAll(machines.map((machine) => isThere(ops, record, machine, quiet)))
  const there = machines.filter((_, index) => found[index] === true)
  if (!request.yes && there.length > 0) {
    const name = record.name ?? record.uuid
    const sure = await ops.questions.confirm(
      `destroy ${there.join(', ')} of deployment '${name}', with their disks?`,
    )
    if (!sure) throw new OpsError('REFUSED', exitCodes.failed, 'nothing was destroyed')
  }
  // Those that were named in the question, and no others.
  const selection = { include: machines }
  return onMachines(ops, { ...request, selection, verb: 'destroy' }, async (session, machine, run) => {
    const something = await isThere(ops, session.record, machine, run)
    if (something && !request.yes && !there.includes(machine)) throw madeMeanwhile(machine)
    // The provider sweeps all the same: a crash of long ago may have left what nobody sees.
    await destroyMachine(ops, session, machine, run)
    return something ? true : { unchanged: 'there was nothing to destroy: it was never made' }
  })
}

function madeMeanwhile(machine: MachineName): OpsError {
  return failure('REFUSED', `machine '${machine}' was made after the question`, {
    machine,
    hint: 'to destroy it too: hydra-ops destroy again',
  })
}

/**
 * Finds out whether there may be something to destroy. The state alone cannot tell: an older one that was put back
 * from a backup does not know what was made since.
 */
async function isThere(ops: Ops, record: DeploymentRecord, machine: MachineName, run: Run): Promise<boolean> {
  const { provider: name, handle, intent } = machineRecord(record, machine)
  const provider = ops.providers.named(name)
  if (!provider.makesMachines || handle !== undefined || intent !== undefined) return true
  const resource = resourceOf(ops, record, machine)
  const hasDisks = existsSync(resource.disks) && readdirSync(resource.disks).length > 0
  return hasDisks || (await provider.inspect(resource, run)).kind !== 'absent'
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
  const secrets = generatedSecretsOf(session.paths, machine, Object.keys(session.record.machines))
  removeTraces(session, machine)
  if (provider.makesMachines) for (const { file } of secrets) forgetGeneratedSecret(file)
  session.update((draft) => {
    delete draft.machines[machine]
  })
  session.journal({ event: 'machine.destroy', machine, result: 'done' })
  const names = [...new Set(secrets.map(({ name }) => name))].sort().join(', ')
  run.log(provider.makesMachines ? destroyed(names) : forgotten(names, session.paths.keys))
}

function destroyed(secrets: string): string {
  return secrets === '' ? 'destroyed' : `destroyed, with the generated secrets ${secrets}`
}

/** Tells of a host that lives on: its users log in with the passwords that were made up, so these are kept. */
function forgotten(secrets: string, folder: string): string {
  const what = 'forgotten (the host itself is untouched)'
  return secrets === ''
    ? what
    : `${what}; it may still have the generated secrets ${secrets}: they stay in ${folder}`
}

/**
 * Removes what is kept of a machine besides its record and its generated secrets: host key, ssh configuration, GC
 * roots of its closures. Disks and console are the provider's; logs and journal stay, as history.
 */
function removeTraces(session: Session, machine: MachineName): void {
  rmSync(dirname(hostKeyFile(session.paths, machine)), { recursive: true, force: true })
  removeSshFiles(session, machine)
  removeRoots(session, machine)
}

/** Removes the ssh files that name the machine: each file is named after its machines, with `+` between them. */
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
