import type { Ops } from '../core/context.js'
import type { NetworkDefinition } from '../core/definition.js'
import type { MachineResult } from '../core/events.js'
import type { Run } from '../core/run.js'
import { inspectKeys } from './deploy/deliver-keys.js'
import { definitionIn, evaluationRequest } from './deploy/evaluate-network.js'
import { type Link, newLink, withLink } from './deploy/job.js'
import { resolveKeys } from './deploy/keys.js'
import { finishKeys } from './deploy/keys-stage.js'
import { connect, hostOf } from './deploy/reach.js'
import { refuseMachine } from './deploy/refuse-machine.js'
import type { Session } from './deploy/session.js'
import { surveyMachine } from './deploy/survey.js'
import { type OnMachines, onMachines } from './on-machines.js'

/** Evaluates at most once, and only when asked: most starts and reboots need no expression. */
export type NetworkOnce = (session: Session, run: Run) => Promise<NetworkDefinition>

export function networkOnce(ops: Ops): NetworkOnce {
  let network: Promise<NetworkDefinition> | undefined
  return (session, run) => {
    const options = { args: {}, searchPath: [], nix: { showTrace: false, options: [] } }
    // What is wrong with one machine is told of that machine: `definitionIn`.
    network ??= ops.nix.evaluate(
      evaluationRequest(ops, session.record, options, 'read', { required: [] }),
      run,
    )
    return network
  }
}

/** Delivers keys again, after a reboot for instance; those that are in place are not touched. */
export function sendKeys(ops: Ops, request: Omit<OnMachines, 'verb'>): Promise<MachineResult[]> {
  const network = networkOnce(ops)
  return onMachines(ops, { ...request, verb: 'send-keys' }, async (session, machine, run) => {
    const definition = definitionIn(await network(session, run), machine)
    const link: Link = { ...newLink(ops, session, machine, run), definition }
    return withLink(link, async () => {
      await connect(link)
      await sendKeysTo(link, network)
      return link.changed
    })
  })
}

/** Does the same for one machine, over the open connection of its link. */
export async function sendKeysTo(link: Link, network: NetworkOnce): Promise<void> {
  const { ops, session, machine, run } = link
  const definition = definitionIn(await network(session, run), machine)
  const options = { local: ops.local, runCommands: true, run, known: new Map() }
  const keys = await resolveKeys(definition, options)
  refuseMachine(link, await surveyMachine(hostOf(link), run))
  // Nothing comes that could make a missing owner: the keys are at their last stage.
  await finishKeys(link, await inspectKeys(hostOf(link), keys, run))
}
