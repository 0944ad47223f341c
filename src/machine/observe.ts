import type { AnyProvider } from '../core/bind-provider.js'
import type { Ops } from '../core/context.js'
import { withinDeadline } from '../core/deadline.js'
import type { MachineDefinition } from '../core/definition.js'
import type { DeploymentRecord, MachineRecord } from '../core/deployment.js'
import { messageOf, throwIfAborted } from '../core/errors.js'
import type { MachineName } from '../core/names.js'
import type { Observation } from '../core/provider.js'
import type { SeenState } from '../core/reports.js'
import type { Run } from '../core/run.js'
import { resourceOf } from './resource.js'

/** A machine to observe. */
export interface Subject {
  readonly ops: Ops
  readonly record: DeploymentRecord
  /** Record before the evaluation. */
  readonly before: DeploymentRecord
  readonly machine: MachineName
  readonly definition: MachineDefinition | undefined
  readonly run: Run
}

export interface MachineStatus {
  readonly state: SeenState
  readonly detail: string | undefined
}

/** Deadline for the hypervisor's answer. */
const inspectMs = 15_000
/** Deadline for sshd's banner. */
const greetMs = 5_000

/** Returns the state that the record claims, for `--no-probe`. */
export function recordedState(known: MachineRecord, provider: AnyProvider | undefined): MachineStatus {
  const made =
    known.handle !== undefined || (known.deployed !== undefined && provider?.makesMachines === false)
  const state = !made ? 'missing' : known.stoppedOnPurpose === true ? 'stopped' : 'up'
  return { state, detail: undefined }
}

/**
 * Queries the provider, and the sshd of a running machine. A state that cannot be determined is `unknown`, never an
 * error.
 */
export async function observeMachine(
  subject: Subject,
  provider: AnyProvider | undefined,
): Promise<MachineStatus> {
  const { ops, record, machine, definition } = subject
  const known = record.machines[machine]
  if (provider === undefined) {
    return { state: 'unknown', detail: `there is no provider '${known?.provider}'` }
  }
  if (provider.makesMachines && known?.handle === undefined && known?.intent === undefined) {
    return { state: 'missing', detail: undefined }
  }
  try {
    const resource = resourceOf(ops, record, machine, definition)
    const observed = await within(subject.run, inspectMs, (run) => provider.inspect(resource, run))
    const state = stateOf(observed, provider)
    const detail = detailOf(observed)
    // The provider of an existing host has already queried its sshd, and one query is enough.
    if (state !== 'up' || !provider.makesMachines) return { state, detail }
    const target = await within(subject.run, inspectMs, (run) => provider.target(resource, run))
    const answers = await ops.ssh.probe(target, { signal: subject.run.signal, timeoutMs: greetMs })
    return answers
      ? { state: 'up', detail }
      : { state: 'unreachable', detail: `no answer from ssh at ${target.host}:${target.port}` }
  } catch (error) {
    throwIfAborted(ops.signal)
    return { state: 'unknown', detail: messageOf(error) }
  }
}

/** Returns the provider's short id of the resource. */
export function resourceIdOf(
  { ops, record, machine, definition }: Subject,
  provider: AnyProvider | undefined,
): string {
  return provider?.resourceId(resourceOf(ops, record, machine, definition)) ?? ''
}

function within<T>(run: Run, milliseconds: number, action: (run: Run) => Promise<T>): Promise<T> {
  return withinDeadline(run.signal, milliseconds, ({ signal }) => action({ ...run, signal }))
}

function stateOf(observed: Observation, { makesMachines }: AnyProvider): SeenState {
  switch (observed.kind) {
    case 'unknown':
      return makesMachines ? 'unknown' : 'unreachable'
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
