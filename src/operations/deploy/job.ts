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
import type { KeyTexts } from './keys.js'
import type { DeployRequest } from './request.js'
import { machineRecord, type Session, updateMachine } from './session.js'

/** One machine and the way to it. Lives for one run. */
export interface Link {
  readonly ops: Ops
  readonly session: Session
  readonly machine: MachineName
  readonly provider: AnyProvider
  /** Absent for verbs that go by the state alone. */
  readonly definition: MachineDefinition | undefined
  readonly acceptHostKey: boolean
  readonly run: Run
  /** Something on the machine or its resource was changed by this run. */
  changed: boolean
  /** The open connection, while there is one. */
  host: Host | undefined
  /** Asked once per machine and run, kept in memory only. */
  sudoPassword: Promise<string> | undefined
}

/** A machine on its way through the deploy pipeline. */
export interface Job extends Link {
  readonly definition: MachineDefinition
  readonly request: DeployRequest
  /** The stage it is at; what an error is reported with. */
  at: Stage
  /** Secrets of set-up tasks by name, each read once per run, kept in memory only. */
  readonly secretTexts: Map<string, Promise<string>>
  readonly keyTexts: KeyTexts
}

/** A machine as the state knows it, without its definition. */
export function newLink(ops: Ops, session: Session, machine: MachineName, run: Run): Link {
  return {
    ops,
    session,
    machine,
    provider: ops.providers.named(machineRecord(session.record, machine).provider),
    definition: undefined,
    acceptHostKey: false,
    run,
    changed: false,
    host: undefined,
    sudoPassword: undefined,
  }
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
    acceptHostKey: base.request.acceptHostKey,
    run: machineRun(ops, machine, logs),
    at: 'inspect',
    secretTexts: new Map(),
    keyTexts: new Map(),
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
  job.ops.events.emit({
    kind: 'stage',
    machine: job.machine,
    stage,
    ...(detail === undefined ? {} : { detail }),
  })
}

export function recordOf(link: Link): MachineRecord {
  return machineRecord(link.session.record, link.machine)
}

export function updateJob(link: Link, change: (draft: MachineRecord) => void): void {
  updateMachine(link.session, link.machine, change)
}

export function journal(link: Link, event: string, facts: { result?: string; data?: Json } = {}): void {
  link.session.journal({ event, machine: link.machine, ...facts })
}

/** Returns the resource as its provider wants it, with the very image it was made from. */
export async function resourceFor(link: Link): Promise<Resource<Json, Json, Json>> {
  const resource = resourceOf(link.ops, link.session.record, link.machine, link.definition)
  if (link.definition === undefined) return resource
  const reference = link.provider.imageReference(link.definition.provider)
  if (reference === undefined) return resource
  const handle = recordOf(link).handle
  const id = handle === undefined ? undefined : link.provider.imageId(handle)
  return { ...resource, image: await link.ops.images.find(reference, id) }
}

/** Returns the reference of the image that a machine is made from, where there is no such image. */
export async function missingImage({ ops, provider, definition }: Job): Promise<string | undefined> {
  const reference = provider.imageReference(definition.provider)
  if (reference === undefined) return undefined
  return (await ops.images.find(reference)) === undefined ? reference : undefined
}

/** Does something over the connection of a link, and closes the connection. */
export async function withLink<T>(link: Link, action: () => Promise<T>): Promise<T> {
  try {
    return await action()
  } finally {
    closeJob(link)
  }
}

export function closeJob(link: Link): void {
  link.host?.close()
  link.host = undefined
}
