import { usageError } from '../core/errors.js'
import type { SshTarget } from '../core/ssh.js'
import { algorithmsOf, parseHostKey } from './host-key.js'
import { checkHostName, jumpCommand } from './jump.js'
import { optionsForSsh, withSshOptions } from './ssh-options.js'
import type { UserPlace } from './tokens.js'

/** Returns the HostKeyAlias, which stays the same when the address or the forwarded port changes. */
function aliasOf(target: SshTarget): string {
  return `hydra-ops-${target.machine}`
}

/** Implements `Ssh.renderConfig` for `ssh -F`, scp, rsync, nix-copy-closure and Ansible. */
export function renderConfig(
  targets: readonly SshTarget[],
  files: { readonly knownHosts: string },
  place: UserPlace,
): { config: string; knownHosts: string } {
  return {
    config: targets.map((target) => block(withSshOptions(target, place), files.knownHosts)).join('\n'),
    knownHosts: targets.map(knownHost).join(''),
  }
}

/**
 * Writes the `Host` block of one machine. The first value of a keyword counts in ssh_config. The order is: the host
 * key's protection, sshOptions that our own connection ignores, and the options that ssh and our connection share.
 */
function block(target: SshTarget, knownHosts: string): string {
  checkHostName(target)
  const lines: (readonly [string, string])[] = [
    ['HostKeyAlias', aliasOf(target)],
    ['UserKnownHostsFile', fileWord(knownHosts)],
    ['GlobalKnownHostsFile', '/dev/null'],
    ['StrictHostKeyChecking', 'yes'],
    ['UpdateHostKeys', 'no'],
    ...hostKeyAlgorithms(target),
    ...optionsForSsh(target).map(({ keyword, value }) => [keyword, value] as const),
    ['HostName', target.host],
    ['Port', String(target.port)],
    ['User', target.user],
    ...target.identityFiles.map((file) => ['IdentityFile', fileWord(file)] as const),
    ...(target.certificateFiles ?? []).map((file) => ['CertificateFile', fileWord(file)] as const),
    ['IdentitiesOnly', target.identitiesOnly === true || !target.useAgent ? 'yes' : 'no'],
    ...agentLines(target),
    ...proxyLines(target),
    // The keepalive also ends a copy when the machine disappears.
    ['ConnectTimeout', '30'],
    ['ServerAliveInterval', '15'],
    ['ServerAliveCountMax', '4'],
  ]
  return `Host ${target.machine}\n${lines.map(([keyword, value]) => `  ${keyword} ${value}\n`).join('')}`
}

function hostKeyAlgorithms(target: SshTarget): (readonly [string, string])[] {
  if (target.hostKey === undefined) return []
  return [['HostKeyAlgorithms', algorithmsOf(parseHostKey(target.hostKey, target.machine)).join(',')]]
}

function agentLines(target: SshTarget): (readonly [string, string])[] {
  if (!target.useAgent) return [['IdentityAgent', 'none']]
  return target.agentSocket === undefined ? [] : [['IdentityAgent', fileWord(target.agentSocket)]]
}

function proxyLines(target: SshTarget): (readonly [string, string])[] {
  if (target.jump !== undefined) return [['ProxyCommand', jumpCommand(target.jump)]]
  // The tokens of the command are already expanded, so any `%` is literal.
  if (target.proxyCommand === undefined) return []
  return [['ProxyCommand', target.proxyCommand.replaceAll('%', '%%')]]
}

function knownHost(target: SshTarget): string {
  if (target.hostKey === undefined) return ''
  const { type, blob } = parseHostKey(target.hostKey, target.machine)
  return `${aliasOf(target)} ${type} ${blob.toString('base64')}\n`
}

/** Quotes a file name for ssh_config(5), where `%` begins a token and `${` a variable. */
function fileWord(file: string): string {
  if (/["\n\r\0]|\$\{/.test(file)) {
    throw usageError(
      `'${file}' cannot be written into an ssh configuration, because its name holds a quote, "\${" or a line break`,
    )
  }
  return `"${file.replaceAll('%', '%%')}"`
}
