import { builderLine, type UsedBuilder } from './builder-entries.js'
import { machinesIn, none, offerTask, operatorName, readOffer } from './builder-offer.js'
import type { DeploymentRecord } from './deployment.js'
import { MachineName } from './names.js'
import type { SshTarget } from './ssh.js'

/** Lists the builders that the operator host uses, as of the last deploy. */
export function buildersOfOperator({ machines }: DeploymentRecord): UsedBuilder[] {
  return Object.entries(machines).flatMap(([name, { tasks, hostKey, obsolete }]) => {
    const outputs = tasks[offerTask]?.outputs
    const offer = readOffer(outputs?.entry)
    const ours = machinesIn(outputs?.for).some((user) => user === operatorName)
    return !ours || obsolete || offer === undefined || hostKey === undefined
      ? []
      : [{ ...offer, machine: MachineName.parse(name), hostKey }]
  })
}

/** A line of the operator host's list of builders. */
export interface OperatorEntry {
  readonly builder: UsedBuilder
  /** Name under which Nix lists the builder. */
  readonly name: string
  readonly line: string
  /** ssh settings that root on the operator host needs to reach the builder; absent if root needs none. */
  readonly sshBlock?: string | undefined
}

interface EntryFacts {
  /** The address of the builder as seen from this host, with any jump host. */
  readonly target: Pick<SshTarget, 'host' | 'port' | 'jump' | 'proxyCommand'>
  readonly keyFile: string
  readonly drained: boolean
}

/**
 * Writes the line for a Nix that runs ssh as the operator. The key and the host key come from the ssh configuration.
 */
export function ownEntry(builder: UsedBuilder, { drained }: Pick<EntryFacts, 'drained'>): OperatorEntry {
  const name = `ssh://${builder.user}@${builder.machine}`
  const line = builderLine(builder, { reader: 'daemon', keyFile: none, drained, name, pinned: false })
  return { builder, name, line }
}

/**
 * Writes the line for the Nix daemon, whose ssh runs as root and reads only root's and the system's settings. The
 * line cannot contain a port, a jump host, or a key path with a space.
 */
export function daemonEntry(
  builder: UsedBuilder,
  deployment: string,
  { target, keyFile, drained }: EntryFacts,
): OperatorEntry {
  const spaced = /\s/.test(keyFile)
  const way = target.jump ?? target.proxyCommand
  const direct = target.port === 22 && way === undefined && !spaced
  const alias = `hydra-ops-${deployment}-${builder.machine}`
  const name = `ssh://${builder.user}@${direct ? target.host : alias}`
  const line = builderLine(builder, { reader: 'daemon', keyFile: spaced ? none : keyFile, drained, name })
  const block = rootBlock(alias, target, spaced ? keyFile : undefined)
  return { builder, name, line, sshBlock: direct ? undefined : block }
}

function rootBlock(
  alias: string,
  { host, port, jump, proxyCommand }: EntryFacts['target'],
  keyFile: string | undefined,
): string {
  const lines = [
    `HostName ${host}`,
    `Port ${port}`,
    `HostKeyAlias ${alias}`,
    ...(keyFile === undefined ? [] : [`IdentityFile "${keyFile.replaceAll('%', '%%')}"`]),
    ...(jump === undefined ? [] : [`ProxyJump ${jump}`]),
    ...(proxyCommand === undefined ? [] : [`ProxyCommand ${proxyCommand.replaceAll('%', '%%')}`]),
    'ServerAliveInterval 15',
    'ServerAliveCountMax 4',
  ]
  return `Host ${alias}\n${lines.map((line) => `  ${line}\n`).join('')}`
}

/** Tells whether the output of `ssh -G` shows that the settings of a block are in effect. */
export function hasBlock(answer: string, block: string): boolean {
  const wanted = ['hostname', 'port', 'hostkeyalias'].map((keyword) => {
    const value = new RegExp(`^  ${keyword} (.*)$`, 'im').exec(block)?.[1] ?? ''
    return `${keyword} ${value}`.toLowerCase()
  })
  const said = answer.toLowerCase().split('\n')
  return wanted.every((line) => said.includes(line))
}

/** Tells whether a Nix daemon trusts a user. A Nix that does not report the setting counts as trusting. */
export function isTrusted(
  trustedUsers: readonly string[],
  { user, groups }: { readonly user: string; readonly groups: readonly string[] },
): boolean {
  if (user === 'root' || trustedUsers.length === 0) return true
  return [user, '*', ...groups.map((group) => `@${group}`)].some((name) => trustedUsers.includes(name))
}
