import { existsSync, readdirSync } from 'node:fs'
import pLimit from 'p-limit'
import type { Ops } from '../core/context.js'
import type { DeploymentRecord } from '../core/deployment.js'
import { exitCodes, failure, OpsError } from '../core/errors.js'
import type { MachineResult } from '../core/events.js'
import type { MachineName } from '../core/names.js'
import type { Run } from '../core/run.js'
import { settleAll } from '../core/settle.js'
import { destroyMachine, endsByDestroy } from '../deploy/destroy-machine.js'
import { type DrainChoice, drainIfRunning, inUseAfterFailure } from '../deploy/drain.js'
import { recordedMachine } from '../machine/machine.js'
import { syncOperatorBuilders } from '../machine/operator-builders.js'
import { resourceOf } from '../machine/resource.js'
import { machineRecord } from '../machine/session.js'
import { selectRecordedMachines } from '../network/select-by-tag.js'
import type { Selection } from '../network/selection.js'
import { onMachines } from './on-machines.js'

/** Destroys machines with everything that belongs to them. Asks first, naming each machine. */
export async function destroyMachines(
  ops: Ops,
  request: {
    deployment: string | undefined
    selection: Selection
    yes: boolean
    maxConcurrent: number
    drain?: DrainChoice | undefined
  },
): Promise<MachineResult[]> {
  const record = await ops.store.resolve(request.deployment)
  const quiet: Run = { signal: ops.signal, log: () => {} }
  const machines = await selectRecordedMachines(ops, record, request.selection, quiet)
  if (machines.length === 0) return []
  const { maxConcurrent } = request
  // `--yes` answers every question, so the look is unnecessary.
  const there = request.yes ? machines : await lookForThem({ ops, record, machines, maxConcurrent }, quiet)
  if (!request.yes && there.length > 0) {
    const name = record.name ?? record.uuid
    const sure = await ops.questions.confirm(
      `destroy ${there.join(', ')} of deployment '${name}', with their disks?`,
    )
    if (!sure) throw new OpsError('REFUSED', exitCodes.failed, 'nothing was destroyed')
  }
  // The selection is fixed here, so that it excludes machines created in the meantime.
  const selection = { include: machines }
  const results = await onMachines(
    ops,
    { ...request, selection, verb: 'destroy' },
    async (deployment, machine, run, selected) => {
      const something = await isThere(ops, deployment.record, machine, run)
      if (something && !there.includes(machine)) throw madeMeanwhile(machine)
      const session = recordedMachine(ops, deployment, machine, run)
      await inUseAfterFailure(session, async () => {
        if (endsByDestroy(session))
          await drainIfRunning(session, request.drain, { how: 'destroyed', with: selected })
        // The provider cleans up in any case, because an old crash may have left remains unknown to the state.
        await destroyMachine(ops, deployment, machine, run)
      })
      return something ? true : { unchanged: 'there was nothing to destroy: the machine was never created' }
    },
  )
  // The key need not be kept: the next deploy creates a new key for a recreated builder.
  await syncOperatorBuilders(ops, await ops.store.resolve(request.deployment), false, quiet)
  return results
}

/** Picks the machines that may still have resources; a machine that cannot be inspected counts, too. */
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
  return failure('REFUSED', `machine '${machine}' was created after the confirmation`, {
    machine,
    hint: 'run hydra-ops destroy again to destroy this machine too',
  })
}

/**
 * Tells whether a machine may still have resources. The state alone cannot show that: a restored backup lacks later
 * machines.
 */
async function isThere(ops: Ops, record: DeploymentRecord, machine: MachineName, run: Run): Promise<boolean> {
  const { provider: name, handle, intent } = machineRecord(record, machine)
  const provider = ops.providers.named(name)
  if (!provider.makesMachines || handle !== undefined || intent !== undefined) return true
  const resource = resourceOf(ops, record, machine)
  const hasDisks = existsSync(resource.disks) && readdirSync(resource.disks).length > 0
  return hasDisks || (await provider.inspect(resource, run)).kind !== 'absent'
}
