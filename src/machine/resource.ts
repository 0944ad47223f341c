import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { CommonOptions } from '../core/common-options.js'
import type { Ops } from '../core/context.js'
import type { MachineDefinition } from '../core/definition.js'
import type { DeploymentRecord, MachineRecord, RecordedTarget } from '../core/deployment.js'
import { usageError } from '../core/errors.js'
import type { Json } from '../core/json.js'
import { MachineName, resourceName } from '../core/names.js'
import type { MachineIdentity, Resource, TargetOptions } from '../core/provider.js'
import type { Run } from '../core/run.js'
import type { DeploymentSecrets } from '../core/secrets.js'
import type { SshTarget } from '../core/ssh.js'
import { suggest } from '../core/suggest.js'

/** Describes one machine for its provider, from the state and from the definition, if present. */
export function resourceOf(
  ops: Ops,
  record: DeploymentRecord,
  machine: MachineName,
  definition?: MachineDefinition,
): Resource<Json, Json, Json> {
  const known = machineOf(record, machine)
  const paths = ops.files.paths(record.uuid)
  return {
    deployment: { uuid: record.uuid, name: record.name },
    machine,
    name: resourceName(record.uuid, machine),
    index: known.index,
    config: definition?.provider ?? known.config ?? {},
    allocation: known.allocation,
    handle: known.handle,
    identity: ops.providers.named(known.provider).makesMachines
      ? identityOf(ops.secrets.of(record.uuid), machine, known.hostKey)
      : undefined,
    os: definition?.os ?? known.os,
    image: undefined,
    disks: join(paths.disks, machine),
    console: join(paths.console, `${machine}.log`),
    target: toTarget(definition === undefined ? known.target : targetOptions(definition.options)),
    hostKey: known.hostKey,
  }
}

/** Returns the SSH target of a machine, from its record and from its definition, if present. */
export async function sshTargetOf(
  ops: Ops,
  record: DeploymentRecord,
  machine: MachineName,
  run: Run,
  definition?: MachineDefinition,
): Promise<SshTarget> {
  const provider = ops.providers.named(machineOf(record, machine).provider)
  return provider.target(resourceOf(ops, record, machine, definition), run)
}

/** Returns the record of a machine that a user named; throws a usage error for an unknown name. */
export function machineOf(record: DeploymentRecord, machine: string): MachineRecord {
  const name = MachineName.safeParse(machine)
  if (name.success && Object.hasOwn(record.machines, name.data)) {
    const found = record.machines[name.data]
    if (found !== undefined) return found
  }
  const names = Object.keys(record.machines)
  const close = suggest(machine, names)
  throw usageError(`there is no machine '${machine}' in deployment '${record.name ?? record.uuid}'`, {
    hint: close === undefined ? whatThereIs(names) : `did you mean '${close}'?`,
  })
}

/** Lists the loopback ports of a deployment's machines. */
export function portsOf(ops: Ops, record: DeploymentRecord, except?: MachineName): number[] {
  // The plugin of another deployment may no longer be installed.
  const providers = new Map(ops.providers.all().map((provider) => [provider.name, provider]))
  return Object.entries(record.machines).flatMap(([name, machine]) =>
    name === except ? [] : (providers.get(machine.provider)?.ports(machine.allocation) ?? []),
  )
}

/** Lists the names of a deployment's machines in the state. */
export function machineNames(record: DeploymentRecord): MachineName[] {
  return Object.keys(record.machines).map((name) => MachineName.parse(name))
}

function whatThereIs(names: readonly string[]): string {
  return names.length === 0
    ? 'nothing has been deployed yet; run hydra-ops deploy'
    : `the machines are: ${names.slice(0, 20).join(', ')}`
}

/** Returns the identity; `undefined` until both keys exist, because a plan before the first deploy has no keys. */
function identityOf(
  { loginKeyFile, hostKeyFile }: DeploymentSecrets,
  machine: MachineName,
  hostKeyPublic: string | undefined,
): MachineIdentity | undefined {
  const authorizedKey = readIfThere(`${loginKeyFile}.pub`)
  if (authorizedKey === undefined || hostKeyPublic === undefined) return undefined
  return {
    hostName: machine,
    hostKeyFile: hostKeyFile(machine),
    hostKeyPublic,
    authorizedKey: authorizedKey.trim(),
    identityFile: loginKeyFile,
  }
}

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}

/** Converts `deployment.target*` and similar options to the form that providers receive and the state stores. */
export function targetOptions(options: CommonOptions): RecordedTarget {
  const { targetHosts: hosts } = options
  return {
    host: hosts[0] ?? options.targetHost ?? undefined,
    ...(hosts.length > 1 ? { hosts } : {}),
    port: options.targetPort ?? undefined,
    user: options.targetUser ?? undefined,
    hostKey: options.targetHostKey ?? undefined,
    sshOptions: options.sshOptions,
    privilegeEscalation: options.privilegeEscalationCommand,
  }
}

function toTarget(recorded: RecordedTarget | undefined): TargetOptions {
  return {
    host: recorded?.host,
    hosts: recorded?.hosts,
    port: recorded?.port,
    user: recorded?.user,
    hostKey: recorded?.hostKey,
    sshOptions: recorded?.sshOptions ?? [],
    privilegeEscalation: recorded?.privilegeEscalation ?? ['sudo', '-H', '--'],
  }
}
