import type { Ops } from '../core/context.js'
import type { NetworkDefinition } from '../core/definition.js'
import type { MachineResult } from '../core/events.js'
import type { MachineName } from '../core/names.js'
import type { Run } from '../core/run.js'
import { inspectKeys } from './deploy/deliver-keys.js'
import { definitionIn, evaluationRequest } from './deploy/evaluate-network.js'
import { closeJob, type Link, newLink } from './deploy/job.js'
import { refuseMissingOwners } from './deploy/key-owners.js'
import { resolveKeys } from './deploy/keys.js'
import { dropKeys, placeKeys } from './deploy/keys-stage.js'
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
  return onMachines(ops, { ...request, verb: 'send-keys' }, (session, machine, run) =>
    sendKeysTo(ops, session, machine, { network, run }),
  )
}

/** The same for one machine; answers whether something was sent. */
export async function sendKeysTo(
  ops: Ops,
  session: Session,
  machine: MachineName,
  how: {
    readonly network: NetworkOnce
    readonly run: Run
    /** The answer that the same run was given before. */
    readonly sudoPassword?: Link['sudoPassword']
  },
): Promise<boolean> {
  const { run } = how
  const definition = definitionIn(await how.network(session, run), machine)
  const keys = await resolveKeys(definition, {
    local: ops.local,
    runCommands: true,
    run,
    known: new Map(),
  })
  const link: Link = {
    ...newLink(ops, session, machine, run),
    definition,
    sudoPassword: how.sudoPassword,
  }
  try {
    await connect(link)
    refuseMachine(link, await surveyMachine(hostOf(link), run))
    const seen = await inspectKeys(hostOf(link), keys, run)
    // Nothing comes that could make a missing owner; his key alone stays away.
    const owned = seen.filter((each) => each.missingOwner === undefined)
    await placeKeys(link, 'pre-activation', owned)
    await placeKeys(link, 'post-activation', owned)
    await dropKeys(link, seen)
    refuseMissingOwners(machine, seen)
    return link.changed
  } finally {
    closeJob(link)
  }
}
