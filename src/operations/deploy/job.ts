import type { AnyProvider } from '../../core/bind-provider.js'
import type { Ops, RunLogs } from '../../core/context.js'
import type { MachineDefinition } from '../../core/definition.js'
import type { MachineRecord } from '../../core/deployment.js'
import type { Stage } from '../../core/events.js'
import type { Json } from '../../core/json.js'
import type { MachineName } from '../../core/names.js'
import type { Resource } from '../../core/provider.js'
import type { Run } from '../../core/run.js'
import type { Host } from '../../core/ssh.js'
import { resourceOf } from '../resources.js'
import type { DeployRequest } from './request.js'
import { machineRecord, type Session, updateMachine } from './session.js'

/** One machine on its way through the pipeline. Lives for one run. */
export interface Job {
  readonly ops: Ops
  readonly session: Session
  readonly request: DeployRequest
  readonly machine: MachineName
  readonly definition: MachineDefinition
  readonly provider: AnyProvider
  readonly run: Run
  /** The stage it is at; what an error is reported with. */
  at: Stage
  /** Something on the machine or its resource was changed by this run. */
  changed: boolean
  /** The open connection, while there is one. */
  host: Host | undefined
  /** Asked once per machine and run, kept in memory only. */
  sudoPassword: string | undefined
}

export function newJob(
  base: Pick<Job, 'ops' | 'session' | 'request' | 'definition'>,
  logs: RunLogs | undefined,
): Job {
  const { ops, definition } = base
  const machine = definition.name
  return {
    ...base,
    machine,
    provider: ops.providers.named(definition.providerName),
    run: machineRun(ops, machine, logs),
    at: 'inspect',
    changed: false,
    host: undefined,
    sudoPassword: undefined,
  }
}

/** Lines go to the machine's log file and to the screen. */
export function machineRun(ops: Ops, machine: MachineName, logs: RunLogs | undefined): Run {
  return {
    signal: ops.signal,
    log: (line) => {
      logs?.append(machine, line)
      ops.events.emit({ kind: 'line', machine, line })
    },
  }
}

export function enter(job: Job, stage: Stage, detail?: string): void {
  job.at = stage
  job.ops.events.emit({ kind: 'stage', machine: job.machine, stage, ...(detail === undefined ? {} : { detail }) })
}

export function recordOf(job: Job): MachineRecord {
  return machineRecord(job.session.record, job.machine)
}

export function updateJob(job: Job, change: (draft: MachineRecord) => void): void {
  updateMachine(job.session, job.machine, change)
}

export function journal(job: Job, event: string, facts: { result?: string; data?: Json } = {}): void {
  job.session.journal({ event, machine: job.machine, ...facts })
}

export async function resourceFor(job: Job): Promise<Resource<Json, Json, Json>> {
  const resource = resourceOf(job.ops, job.session.record, job.machine, job.definition)
  const reference = job.provider.imageReference(job.definition.provider)
  if (reference === undefined) return resource
  const handle = recordOf(job).handle
  const id = handle === undefined ? undefined : job.provider.imageId(handle)
  return { ...resource, image: await job.ops.images.find(reference, id) }
}

export function closeJob(job: Job): void {
  job.host?.close()
  job.host = undefined
}
