import type { Ops } from '../core/context.js'
import type { NetworkDefinition } from '../core/definition.js'
import type { MachineResult } from '../core/events.js'
import type { Run } from '../core/run.js'
import type { DeploymentSession } from '../core/session.js'
import { refuseMachine } from '../deploy/refuse-machine.js'
import { inspectKeys } from '../keys/deliver.js'
import { resolveKeys } from '../keys/keys.js'
import { finishKeys } from '../keys/keys-stage.js'
import { connect, hostOf } from '../machine/connect.js'
import { type MachineSession, recordedMachine, withLink } from '../machine/machine.js'
import { definitionIn, evaluationRequest } from '../network/evaluate.js'
import { systemOf } from '../systems/systems.js'
import { type OnMachines, onMachines } from './on-machines.js'

/** Evaluates the network at most once, and only on demand, because most starts and reboots need no expression. */
export type NetworkOnce = (deployment: DeploymentSession, run: Run) => Promise<NetworkDefinition>

export function networkOnce(ops: Ops): NetworkOnce {
  let network: Promise<NetworkDefinition> | undefined
  return (deployment, run) => {
    const options = { args: {}, searchPath: [], nix: { showTrace: false, options: [] } }
    // No machine is required: `definitionIn` throws the error of one machine, so that other machines stay unaffected.
    network ??= ops.nix.evaluate(
      evaluationRequest(ops, deployment.record, options, 'read', { required: [] }),
      run,
    )
    return network
  }
}

/** Delivers keys again, for instance after a reboot; skips keys that are already in place. */
export function sendKeys(ops: Ops, request: Omit<OnMachines, 'verb'>): Promise<MachineResult[]> {
  const network = networkOnce(ops)
  return onMachines(ops, { ...request, verb: 'send-keys' }, async (deployment, machine, run) => {
    const definition = definitionIn(await network(deployment, run), machine)
    const session: MachineSession = { ...recordedMachine(ops, deployment, machine, run), definition }
    return withLink(session, async () => {
      await connect(session)
      await sendKeysTo(session, network)
      return session.changed
    })
  })
}

/** Delivers the keys of one machine again, over the session's open connection. */
export async function sendKeysTo(session: MachineSession, network: NetworkOnce): Promise<void> {
  const { ops, deployment, machine, run } = session
  const definition = definitionIn(await network(deployment, run), machine)
  const options = { local: ops.local, runCommands: true, run, known: new Map() }
  const keys = await resolveKeys(definition, options)
  const survey = await systemOf(definition).survey(hostOf(session), run)
  refuseMachine({ ...session, definition }, survey)
  // No later step could create a missing owner. The keys are therefore delivered as in the last phase of a deploy.
  await finishKeys(session, await inspectKeys(hostOf(session), keys, run))
}
