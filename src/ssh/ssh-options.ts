import { usageError } from '../core/errors.js'
import type { SshTarget } from '../core/ssh.js'
import { followedWords, readSshOptions, type SshOption } from '../core/ssh-options.js'
import { agentOf, fillFile, fillHostName, fillTokens, type TokenValues, type UserPlace } from './tokens.js'

/** Keywords that hydra-ops itself sets, because the pinned host key is always verified. */
const ours = new Set([
  'stricthostkeychecking',
  'userknownhostsfile',
  'globalknownhostsfile',
  'hostkeyalias',
  'hostkeyalgorithms',
  'updatehostkeys',
  'knownhostscommand',
  'verifyhostkeydns',
  'nohostauthenticationforlocalhost',
])

/** Keywords that `withSshOptions` turns into a part of the target. */
const followed = new Set([...followedWords, 'proxyjump', 'proxycommand'])

/**
 * Parses `deployment.sshOptions` into lines of ssh_config. Options that would loosen the check of the host key are left
 * out. The evaluation refuses unusable options, so only an old state can still hold them.
 */
export function parseSshOptions({
  machine,
  sshOptions,
}: Pick<SshTarget, 'machine' | 'sshOptions'>): SshOption[] {
  const { options, refused } = readSshOptions(sshOptions)
  if (refused.length > 0) {
    const say = refused.map((why) => `machine '${machine}': deployment.sshOptions: ${why}`)
    throw usageError(say.join('\n'), { machine })
  }
  return options.filter(({ keyword }) => !ours.has(keyword.toLowerCase()))
}

/** Returns the options that only the system's ssh needs. The rendered configuration contains them unchanged. */
export function optionsForSsh(target: Pick<SshTarget, 'machine' | 'sshOptions'>): SshOption[] {
  return parseSshOptions(target).filter(({ keyword }) => !followed.has(keyword.toLowerCase()))
}

/** Returns the effective value of a keyword: the first value, as in ssh. */
export function firstOf(options: readonly SshOption[], name: string): string | undefined {
  return options.find(({ keyword }) => keyword.toLowerCase() === name)?.value
}

/**
 * Returns the target with the sshOptions that our own connection follows. Tokens are expanded last, with the resulting
 * host, port and user.
 */
export function withSshOptions(target: SshTarget, place: UserPlace): SshTarget {
  if (target.sshOptions.length === 0) return target
  const options = parseSshOptions(target)
  const first = (name: string) => firstOf(options, name)
  const hostName = first('hostname')
  const login = {
    host: hostName === undefined ? target.host : fillHostName(hostName, target.askedHost ?? target.host),
    port: Number(first('port') ?? target.port),
    user: first('user') ?? target.user,
  }
  const values: TokenValues = { ...login, asked: target.askedHost ?? target.machine }
  const files = (name: string) =>
    options.flatMap(({ keyword, value }) =>
      keyword.toLowerCase() === name && value !== 'none' ? [fillFile(value, values, place)] : [],
    )
  const joined = (own: readonly string[], others: readonly string[]) => [
    ...own,
    ...others.filter((file) => !own.includes(file)),
  ]
  const agent = first('identityagent')
  return {
    ...target,
    ...login,
    identityFiles: joined(files('identityfile'), target.identityFiles),
    certificateFiles: joined(files('certificatefile'), target.certificateFiles ?? []),
    identitiesOnly: flagOf(first('identitiesonly')) ?? target.identitiesOnly,
    ...(agent === undefined ? {} : agentOf(agent, values, place)),
    ...(wayOf(options, values, place) ?? { jump: target.jump, proxyCommand: target.proxyCommand }),
  }
}

/** Reads ProxyJump and ProxyCommand: the first of them rules out the other, and `none` rules out both. */
function wayOf(
  options: readonly SshOption[],
  values: TokenValues,
  place: UserPlace,
): Pick<SshTarget, 'jump' | 'proxyCommand'> | undefined {
  const way = options.find(({ keyword }) => /^proxy(?:jump|command)$/i.test(keyword))
  if (way === undefined) return undefined
  const value = way.value === 'none' ? undefined : fillTokens(way.value, values, place.homeDir)
  return way.keyword.toLowerCase() === 'proxyjump'
    ? { jump: value, proxyCommand: undefined }
    : { jump: undefined, proxyCommand: value }
}

function flagOf(value: string | undefined): boolean | undefined {
  return value === undefined ? undefined : ['yes', 'true'].includes(value.toLowerCase())
}
