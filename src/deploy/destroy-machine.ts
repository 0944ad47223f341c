import type { Ops } from '../core/context.js'
import type { MachineName } from '../core/names.js'
import { resourceName } from '../core/names.js'
import type { Run } from '../core/run.js'
import type { DeploymentSession } from '../core/session.js'
import { type MachineSession, recordOf, secretsOf } from '../machine/machine.js'
import { resourceOf } from '../machine/resource.js'
import { machineRecord } from '../machine/session.js'
import { forgetSshFiles } from '../machine/ssh-client.js'
import { builtRoot } from './build-everything.js'

/** Tells whether `destroy` removes the machine itself. A host that is only forgotten stays in use. */
export function endsByDestroy(session: MachineSession): boolean {
  return session.provider.makesMachines && recordOf(session).handle !== undefined
}

/**
 * Removes one machine, then forgets it. The intent is written first, so that a repeated call finishes the work after a
 * crash. A machine that is gone already is not an error.
 */
export async function destroyMachine(
  ops: Ops,
  deployment: DeploymentSession,
  machine: MachineName,
  run: Run,
): Promise<void> {
  const known = machineRecord(deployment.record, machine)
  const provider = ops.providers.named(known.provider)
  const resource = resourceName(deployment.record.uuid, machine)
  await deployment.journal({ event: 'machine.destroy', machine, data: resource })
  await deployment.updateMachine(machine, (draft) => {
    draft.intent = { action: 'destroy', resource, since: ops.now().toISOString() }
  })
  await provider.destroy(resourceOf(ops, deployment.record, machine), run)
  const secrets = secretsOf({ ops, deployment })
  const generated = await secrets.generatedOf(machine, Object.keys(deployment.record.machines))
  await removeTraces({ ops, deployment, machine })
  if (provider.makesMachines) for (const each of generated) await each.forget()
  await deployment.removeMachine(machine)
  await deployment.journal({ event: 'machine.destroy', machine, result: 'done' })
  const names = [...new Set(generated.map(({ name }) => name))].sort().join(', ')
  run.log(provider.makesMachines ? destroyed(names) : forgotten(names, secrets.place))
}

function destroyed(secrets: string): string {
  return secrets === '' ? 'destroyed' : `destroyed the machine and the generated secrets ${secrets}`
}

/** Describes a host that stays in use; its generated secrets are kept, because its users log in with them. */
function forgotten(secrets: string, place: string): string {
  const what = 'removed from the state (the host itself is untouched)'
  return secrets === ''
    ? what
    : `${what}; ${place} keeps the generated secrets ${secrets}, which the host may still use`
}

/**
 * Removes the remaining traces of a machine: host key, ssh configuration, GC roots. The provider removes disks and
 * console; logs and journal stay as history.
 */
async function removeTraces({
  ops,
  deployment,
  machine,
}: Pick<MachineSession, 'ops' | 'deployment' | 'machine'>): Promise<void> {
  await secretsOf({ ops, deployment }).forgetHostKey(machine)
  forgetSshFiles(deployment.paths, machine)
  await ops.nix.forgetRoots(deployment.paths.gcroots, [machine, builtRoot(machine)])
}
