import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { builderList, buildersSetting, listProblem, type UsedBuilder } from '../core/builder-entries.js'
import type { Ops } from '../core/context.js'
import type { DeploymentRecord } from '../core/deployment.js'
import { failure, messageOf, OpsError } from '../core/errors.js'
import { fsFailure } from '../core/file-failure.js'
import type { MachineName } from '../core/names.js'
import type { NixFlags } from '../core/nix.js'
import {
  buildersOfOperator,
  daemonEntry,
  hasBlock,
  isTrusted,
  type OperatorEntry,
  ownEntry,
} from '../core/operator-builders.js'
import type { Run } from '../core/run.js'
import type { SshTarget } from '../core/ssh.js'
import { writeIfChanged } from '../core/write-if-changed.js'
import { sshTargetOf } from './resource.js'

/** The builders of this host's Nix, and the obstacles to their use. */
export interface OperatorUse {
  readonly entries: readonly OperatorEntry[]
  readonly list: string
  readonly keyFile: string
  /** ssh configuration for a Nix without a daemon; a daemon does not read this file. */
  readonly sshConfig: string | undefined
  /** Whether Nix ignores builders that this user names. */
  readonly untrusted: boolean
  /** Builders that root's ssh cannot reach yet. */
  readonly unreached: readonly OperatorEntry[]
  /** Builders without a known address, with the reasons. */
  readonly left: readonly { readonly machine: MachineName; readonly why: string }[]
}

const askMs = 30_000
/** The list that the Nix of a host reads if its settings name no other list. */
export const hostList = '/etc/nix/machines'

function placesOf(ops: Ops, { uuid }: DeploymentRecord) {
  const folder = join(ops.files.paths(uuid).root, 'builders')
  return {
    folder,
    list: join(folder, 'machines'),
    sshConfig: join(folder, 'ssh_config'),
    knownHosts: join(folder, 'known_hosts'),
    drained: join(folder, 'drained'),
    keyFile: ops.secrets.of(uuid).builderKeyFile,
  }
}

/** Lists the builders that get no new builds from this host. */
export function drainedByOperator(ops: Ops, record: DeploymentRecord): ReadonlySet<string> {
  const { drained } = placesOf(ops, record)
  return new Set(existsSync(drained) ? readdirSync(drained) : [])
}

/** Marks a builder so that it gets no new builds from this host, or removes the mark. */
export async function markForOperator(
  ops: Ops,
  record: DeploymentRecord,
  machine: MachineName,
  drains: boolean,
): Promise<void> {
  const mark = join(placesOf(ops, record).drained, machine)
  if (drains) await writeIfChanged(mark, '\n')
  else await rm(mark, { force: true })
}

/** Writes the list of this host's builders; returns `undefined` if this host has no builders. */
export async function operatorBuilders(
  ops: Ops,
  record: DeploymentRecord,
  run: Run,
): Promise<OperatorUse | undefined> {
  const builders = buildersOfOperator(record)
  if (builders.length === 0) return undefined
  const places = placesOf(ops, record)
  const drained = drainedByOperator(ops, record)
  const { remote } = await ops.nix.describeStore()
  const daemon = remote === 'daemon' || remote.startsWith('unix://')
  const entries: OperatorEntry[] = []
  const targets: SshTarget[] = []
  const left: { machine: MachineName; why: string }[] = []
  for (const builder of builders) {
    try {
      const target = await sshTargetOf(ops, record, builder.machine, run)
      const facts = { target, keyFile: places.keyFile, drained: drained.has(builder.machine) }
      entries.push(daemon ? daemonEntry(builder, record.uuid.slice(0, 8), facts) : ownEntry(builder, facts))
      targets.push(loginOf(target, builder, places.keyFile))
    } catch (error) {
      if (!(error instanceof OpsError) || error.code === 'INTERRUPTED') throw error
      left.push({ machine: builder.machine, why: messageOf(error) })
    }
  }
  const list = builderList(entries.map(({ line }) => line))
  const problem = listProblem(list)
  if (problem !== undefined)
    throw failure('BUILDER_LIST', `the list of this host's builders is wrong: ${problem}`, {
      hint: 'correct deployment.builder of that builder; the current list was not changed',
    })
  const rendered = ops.ssh.renderConfig(targets, { knownHosts: places.knownHosts })
  await writeIfChanged(places.knownHosts, rendered.knownHosts)
  await writeIfChanged(places.sshConfig, rendered.config)
  await writeIfChanged(places.list, list)
  return {
    entries,
    list: places.list,
    keyFile: places.keyFile,
    sshConfig: daemon ? undefined : places.sshConfig,
    untrusted: daemon && !(await isTrustedHere(ops, run)),
    unreached: await unreachedBy(ops, entries, run),
    left,
  }
}

/** Returns the login for builds, derived from the login of hydra-ops. */
function loginOf(target: SshTarget, { user, hostKey }: UsedBuilder, keyFile: string): SshTarget {
  return {
    ...target,
    user,
    hostKey,
    identityFiles: [keyFile],
    certificateFiles: [],
    useAgent: false,
    agentSocket: undefined,
    identitiesOnly: true,
  }
}

/** Returns the settings of Nix, or an empty map if the query fails. A failed query must not end a deploy. */
async function settingsOf(ops: Ops, run: Run): Promise<ReadonlyMap<string, string>> {
  try {
    return await ops.nix.settings(run)
  } catch (error) {
    if (!(error instanceof OpsError) || error.code === 'INTERRUPTED') throw error
    run.log(`cannot read the settings of Nix: ${messageOf(error)}`)
    return new Map()
  }
}

async function isTrustedHere(ops: Ops, run: Run): Promise<boolean> {
  const settings = await settingsOf(ops, run)
  const named = (settings.get('trusted-users') ?? '').split(/\s+/).filter((name) => name !== '')
  const options = { signal: run.signal, timeoutMs: askMs, what: 'read the groups of the user' }
  const groups = await ops.local.run(['id', '-Gn'], options)
  return isTrusted(named, { user: ops.operator.user, groups: groups.stdout.trim().split(/\s+/) })
}

/** Returns the builders whose needed ssh settings are missing from the configuration that the daemon's ssh reads. */
async function unreachedBy(ops: Ops, entries: readonly OperatorEntry[], run: Run): Promise<OperatorEntry[]> {
  const unreached: OperatorEntry[] = []
  for (const entry of entries) {
    if (entry.sshBlock === undefined) continue
    const alias = entry.name.replace(/^ssh:\/\/[^@]*@/, '')
    // This user cannot read root's own ssh configuration, but can read the configuration of the system.
    const file = ops.operator.user === 'root' ? [] : ['-F', '/etc/ssh/ssh_config']
    const options = { signal: run.signal, timeoutMs: askMs, what: 'read the settings of ssh' }
    const said = await ops.local.run(['ssh', ...file, '-G', '--', alias], options)
    if (!hasBlock(said.stdout, entry.sshBlock)) unreached.push(entry)
  }
  return unreached
}

/** Adds the builders of this host to the flags of a build, unless the user chose builders. */
export async function withOperatorBuilders(
  ops: Ops,
  record: DeploymentRecord,
  flags: NixFlags,
  run: Run,
): Promise<NixFlags> {
  if (flags.builders !== undefined || buildersOfOperator(record).length === 0) return flags
  const use = await operatorBuilders(ops, record, run)
  if (use === undefined) return flags
  for (const text of hindrances(ops, use)) ops.events.emit({ kind: 'notice', text })
  const usable = use.entries.length > use.unreached.length
  if (use.untrusted || !usable) return flags
  const present = (await settingsOf(ops, run)).get('builders') ?? `@${hostList}`
  return {
    ...flags,
    builders: buildersSetting(present, `@${use.list}`),
    options: [...flags.options, ['builders-use-substitutes', 'true']],
    ...(use.sshConfig === undefined ? {} : { sshConfig: use.sshConfig }),
  }
}

/** Describes the obstacles between this host's Nix and its builders, with the lines that root must add. */
export function hindrances({ operator }: Pick<Ops, 'operator'>, use: OperatorUse): string[] {
  const { entries, untrusted, unreached, left } = use
  return [
    ...(untrusted
      ? [
          `the Nix daemon of this host does not trust user '${operator.user}', and ignores the builders of that user: add ${operator.user} to trusted-users in /etc/nix/nix.conf and restart nix-daemon; or add these lines to ${hostList}:\n${entries.map(({ line }) => line).join('\n')}`,
        ]
      : []),
    ...unreached.map(
      ({ builder, sshBlock }) =>
        `the Nix daemon of this host does not reach builder '${builder.machine}' without these lines in /etc/ssh/ssh_config.d/hydra-ops.conf:\n${sshBlock}`,
    ),
    ...left.map(({ machine, why }) => `builder '${machine}' has no address for this host: ${why}`),
  ]
}

/** Creates the key pair of this host's Nix, before a builder accepts the key. */
export async function ensureBuilderKey(ops: Ops, record: DeploymentRecord, run: Run): Promise<void> {
  await ops.ssh.ensureKeyPair(placesOf(ops, record).keyFile, run)
}

/** Returns the public key of this host's Nix, or `undefined` if the key does not exist yet. */
export function builderKeyOf(ops: Ops, record: DeploymentRecord): string | undefined {
  const file = `${ops.secrets.of(record.uuid).builderKeyFile}.pub`
  return existsSync(file) ? readFileSync(file, 'utf8').trim().split(' ').slice(0, 2).join(' ') : undefined
}

/**
 * Writes the list of this host's builders after a deploy, and reports the obstacles to their use. `wanted` keeps the
 * key for a builder that is not deployed yet.
 */
export async function syncOperatorBuilders(
  ops: Ops,
  record: DeploymentRecord,
  wanted: boolean,
  run: Run,
): Promise<void> {
  const places = placesOf(ops, record)
  const before = existsSync(places.list) ? readFileSync(places.list, 'utf8') : ''
  const use = await operatorBuilders(ops, record, run)
  if (use === undefined) {
    if (!wanted) await removeOperatorBuilders(ops, record)
    return
  }
  if (readFileSync(use.list, 'utf8') === before) return
  const names = use.entries.map(({ builder }) => `'${builder.machine}'`).join(', ')
  const texts = [`this host's Nix will build on ${names} in later runs of hydra-ops`]
  const hindering = hindrances(ops, use)
  for (const text of hindering.length === 0 ? texts : hindering) ops.events.emit({ kind: 'notice', text })
}

async function removeOperatorBuilders(ops: Ops, record: DeploymentRecord): Promise<void> {
  const { folder, keyFile } = placesOf(ops, record)
  if (!existsSync(folder) && !existsSync(keyFile)) return
  try {
    await rm(folder, { recursive: true, force: true })
  } catch (error) {
    throw fsFailure(error, 'remove', folder)
  }
  await ops.secrets.of(record.uuid).forgetBuilderKey()
  if (namesKey(hostList, keyFile))
    ops.events.emit({
      kind: 'notice',
      text: `this host no longer has a builder: remove the lines with ${keyFile} from ${hostList}`,
    })
}

function namesKey(file: string, keyFile: string): boolean {
  try {
    return readFileSync(file, 'utf8').includes(keyFile)
  } catch {
    return false
  }
}
