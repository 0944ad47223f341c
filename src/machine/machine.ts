import type { AnyProvider } from '../core/bind-provider.js'
import type { Ops, RunLogs } from '../core/context.js'
import type { MachineDefinition } from '../core/definition.js'
import type { MachineRecord } from '../core/deployment.js'
import { usageError } from '../core/errors.js'
import { type NixosParts, nixosImage, type WantedImage } from '../core/image.js'
import type { Json } from '../core/json.js'
import type { MachineName } from '../core/names.js'
import type { Resource } from '../core/provider.js'
import type { Run } from '../core/run.js'
import type { DeploymentSecrets } from '../core/secrets.js'
import type { DeploymentSession } from '../core/session.js'
import type { Host } from '../core/ssh.js'
import { resourceOf } from './resource.js'
import { machineRecord } from './session.js'

/** A machine and the connection to it, for one run. */
export interface MachineSession {
  readonly ops: Ops
  readonly deployment: DeploymentSession
  readonly machine: MachineName
  readonly provider: AnyProvider
  /** Definition; absent for commands that use the state alone. */
  readonly definition: MachineDefinition | undefined
  readonly acceptHostKey: boolean
  readonly run: Run
  /** Whether this run changed the machine or its resource. */
  changed: boolean
  /** The open connection, if any. */
  host: Host | undefined
  /** Password for sudo, requested once per machine and run, and kept in memory only. */
  sudoPassword: Promise<string> | undefined
}

/** A machine session that has the machine's definition. */
export interface DefinedMachine extends MachineSession {
  readonly definition: MachineDefinition
  /** Parts of the image `nixos` for this machine, if the machine uses that image. */
  readonly nixosImage?: NixosParts | undefined
}

/** Begins a session with a machine from its record in the state, without its definition. */
export function recordedMachine(
  ops: Ops,
  deployment: DeploymentSession,
  machine: MachineName,
  run: Run,
): MachineSession {
  return {
    ops,
    deployment,
    machine,
    provider: ops.providers.named(machineRecord(deployment.record, machine).provider),
    definition: undefined,
    acceptHostKey: false,
    run,
    changed: false,
    host: undefined,
    sudoPassword: undefined,
  }
}

/** Creates a run whose lines go to the machine's log file and to the screen. */
export function machineRun(ops: Ops, machine: MachineName, logs: RunLogs | undefined): Run {
  return {
    signal: ops.signal,
    log: (line) => {
      logs?.append(machine, line)
      ops.events.emit({ kind: 'line', machine, line })
    },
  }
}

export function recordOf(session: MachineSession): MachineRecord {
  return machineRecord(session.deployment.record, session.machine)
}

/** Returns the secrets that hydra-ops generated for the session's deployment. */
export function secretsOf({
  ops,
  deployment,
}: Pick<MachineSession, 'ops' | 'deployment'>): DeploymentSecrets {
  return ops.secrets.of(deployment.record.uuid)
}

/** Changes the record of the session's machine. */
export function updateJob(session: MachineSession, change: (draft: MachineRecord) => void): Promise<void> {
  return session.deployment.updateMachine(session.machine, change)
}

export function journal(
  session: MachineSession,
  event: string,
  facts: { result?: string; data?: Json } = {},
): Promise<void> {
  return session.deployment.journal({ event, machine: session.machine, ...facts })
}

/** Returns the resource in the form that its provider needs, with the image that was used to create the machine. */
export async function resourceFor(
  session: MachineSession & Pick<DefinedMachine, 'nixosImage'>,
): Promise<Resource<Json, Json, Json>> {
  const resource = resourceOf(session.ops, session.deployment.record, session.machine, session.definition)
  if (session.definition === undefined) return resource
  const { os, provider } = session.definition
  const reference = session.provider.imageReference(provider, os)
  if (reference === undefined) return resource
  const handle = recordOf(session).handle
  const id = handle === undefined ? undefined : session.provider.imageId(handle)
  return { ...resource, image: await session.ops.images.find(reference, id, session.nixosImage?.id) }
}

/** Returns the machine's image if the image has not been built yet. */
export async function missingImage({
  ops,
  provider,
  definition,
  nixosImage: nixos,
}: DefinedMachine): Promise<WantedImage | undefined> {
  const reference = provider.imageReference(definition.provider, definition.os)
  if (reference === undefined) return undefined
  if (reference === nixosImage && nixos === undefined) {
    throw usageError(`machine '${definition.name}': image 'nixos' is only for NixOS machines`, {
      machine: definition.name,
      hint: 'name another image in the options of the provider, or set deployment.os = "nixos"',
    })
  }
  return (await ops.images.find(reference, undefined, nixos?.id)) === undefined
    ? { reference, nixos }
    : undefined
}

/** Runs an action, then closes the session's connection. */
export async function withLink<T>(session: MachineSession, action: () => Promise<T>): Promise<T> {
  try {
    return await action()
  } finally {
    closeJob(session)
  }
}

export function closeJob(session: MachineSession): void {
  session.host?.close()
  session.host = undefined
}
