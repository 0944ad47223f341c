import { existsSync, readdirSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import pLimit from 'p-limit'
import type { Ops } from '../core/context.js'
import type { DeploymentRecord } from '../core/deployment.js'
import { exitCodes, failure, OpsError } from '../core/errors.js'
import type { MachineResult } from '../core/events.js'
import type { MachineName } from '../core/names.js'
import { resourceName } from '../core/names.js'
import type { Run } from '../core/run.js'
import { settleAll } from '../core/settle.js'
import { builtRoot } from './deploy/build-everything.js'
import type { Link } from './deploy/job.js'
import { machineRecord, type Session, updateMachine } from './deploy/session.js'
import { forgetGeneratedSecret, generatedSecretsOf } from './generated-secret.js'
import { onMachines } from './on-machines.js'
import { hostKeyFile, resourceOf } from './resources.js'
import { selectRecordedMachines } from './select-by-tag.js'
import type { Selection } from './selection.js'
import { forgetSshFiles } from './ssh-client.js'

/** Destroys machines and what belongs to them. Asks first, naming each. */
export async function destroyMachines(
  ops: Ops,
  request: { deployment: string | undefined; selection: Selection; yes: boolean; maxConcurrent: number },
): Promise<MachineResult[]> {
  const record = ops.store.resolve(request.deployment)
  const quiet: Run = { signal: ops.signal, log: () => {} }
  const machines = await selectRecordedMachines(ops, record, request.selection, quiet)
  if (machines.length === 0) return []
  const { maxConcurrent } = request
  // No question depends on the look where `--yes` answers it already.
  const there = request.yes ? machines : await lookForThem({ ops, record, machines, maxConcurrent }, quiet)
  if (!request.yes && there.length > 0) {
    const name = record.name ?? record.uuid
    const sure = await ops.questions.confirm(
      `destroy ${there.join(', ')} of deployment '${name}', with their disks?`,
    )
    if (!sure) throw new OpsError('REFUSED', exitCodes.failed, 'nothing was destroyed')
  }
  // A machine that was made since the selection is none of it.
  const selection = { include: machines }
  return onMachines(ops, { ...request, selection, verb: 'destroy' }, async (session, machine, run) => {
    const something = await isThere(ops, session.record, machine, run)
    if (something && !there.includes(machine)) throw madeMeanwhile(machine)
    // The provider sweeps all the same: a crash of long ago may have left what nobody sees.
    await destroyMachine(ops, session, machine, run)
    return something ? true : { unchanged: 'there was nothing to destroy: it was never made' }
  })
}

/** Picks the machines of which something may be there; one that cannot be looked at counts as such. */
async function lookForThem(
  wanted: {
    readonly ops: Ops
    readonly record: DeploymentRecord
    readonly machines: readonly MachineName[]
    readonly maxConcurrent: number
  },
  run: Run,
): Promise<MachineName[]> {
  const { ops, record, machines, maxConcurrent } = wanted
  const limit = pLimit(maxConcurrent)
  const found = await settleAll(
    machines.map((machine) =>
      limit(async () => {
        try {
          return await isThere(ops, record, machine, run)
        } catch (error) {
          if (error instanceof OpsError && error.code === 'INTERRUPTED') throw error
          return true
        }
      }),
    ),
  )
  return machines.filter((_, index) => found[index] === true)
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
  await removeTraces({ ops, session, machine })
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
async function removeTraces({
  ops,
  session,
  machine,
}: Pick<Link, 'ops' | 'session' | 'machine'>): Promise<void> {
  rmSync(dirname(hostKeyFile(session.paths, machine)), { recursive: true, force: true })
  forgetSshFiles(session.paths, machine)
  await ops.nix.forgetRoots(session.paths.gcroots, [machine, builtRoot(machine)])
}
