import type { AnyProvider } from '../core/bind-provider.js'
import type { MachineRecord } from '../core/deployment.js'
import { messageOf, throwIfInterrupted } from '../core/errors.js'
import type { Observation } from '../core/provider.js'
import type { Run } from '../core/run.js'
import type { Subject } from './info.js'
import { resourceOf } from './resources.js'

export type SeenState = 'missing' | 'up' | 'stopped' | 'unreachable' | 'foreign' | 'unknown'

export interface Seen {
  readonly state: SeenState
  readonly resourceId: string
  readonly detail: string | undefined
}

/** How long a hypervisor may take to answer. */
const inspectMs = 15_000
/** How long sshd may take to greet. */
const greetMs = 5_000

/** What the state says, for `--no-probe`. */
export function recordedState(known: MachineRecord, provider: AnyProvider | undefined): Seen {
  const made = known.handle !== undefined || (known.deployed !== undefined && provider?.makesMachines === false)
  const state = !made ? 'missing' : known.stoppedOnPurpose === true ? 'stopped' : 'up'
  return { state, resourceId: '', detail: undefined }
}

/** Asks the provider, and for a machine that runs its sshd. What cannot be found out is `unknown`, never an error. */
export async function observeMachine(subject: Subject, provider: AnyProvider | undefined): Promise<Seen> {
  const { ops, record, machine, definition } = subject
  const known = record.machines[machine]
  if (provider === undefined) {
    return { state: 'unknown', resourceId: '', detail: `there is no provider '${known?.provider}'` }
  }
  let resourceId = ''
  try {
    const resource = resourceOf(ops, record, machine, definition)
    resourceId = provider.resourceId(resource)
    if (provider.makesMachines && known?.handle === undefined && known?.intent === undefined) {
      return { state: 'missing', resourceId: '', detail: undefined }
    }
    const observed = await provider.inspect(resource, within(subject.run, inspectMs))
    const state = stateOf(observed)
    const detail = detailOf(observed)
    if (state !== 'up') return { state, resourceId, detail }
    const target = await provider.target(resource, within(subject.run, inspectMs))
    const answers = await ops.ssh.probe(target, { signal: subject.run.signal, timeoutMs: greetMs })
    return answers
      ? { state: 'up', resourceId, detail }
      : { state: 'unreachable', resourceId, detail: `no answer from ssh at ${target.host}:${target.port}` }
  } catch (error) {
    throwIfInterrupted(ops.signal)
    return { state: 'unknown', resourceId, detail: messageOf(error) }
  }
}

function within(run: Run, milliseconds: number): Run {
  return { ...run, signal: AbortSignal.any([run.signal, AbortSignal.timeout(milliseconds)]) }
}

function stateOf(observed: Observation): SeenState {
  switch (observed.kind) {
    case 'absent':
      return 'missing'
    case 'running':
      return 'up'
    default:
      return observed.kind
  }
}

function detailOf(observed: Observation): string | undefined {
  if (observed.kind === 'foreign') return observed.what
  if (observed.kind === 'unknown') return observed.reason
  return observed.kind === 'absent' ? undefined : observed.detail
}
