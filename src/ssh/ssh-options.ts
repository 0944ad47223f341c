import { join } from 'node:path'
import { usageError } from '../core/errors.js'
import type { SshTarget } from '../core/ssh.js'

/** One line of ssh_config. */
export interface SshOption {
  readonly keyword: string
  readonly value: string
}

/** Flags of ssh(1) with a value, as the keyword of ssh_config(5) that says the same. */
const withValue: Readonly<Record<string, string>> = {
  b: 'BindAddress',
  B: 'BindInterface',
  c: 'Ciphers',
  i: 'IdentityFile',
  J: 'ProxyJump',
  l: 'User',
  m: 'MACs',
  p: 'Port',
  S: 'ControlPath',
}

const withoutValue: Readonly<Record<string, SshOption>> = {
  4: { keyword: 'AddressFamily', value: 'inet' },
  6: { keyword: 'AddressFamily', value: 'inet6' },
  A: { keyword: 'ForwardAgent', value: 'yes' },
  a: { keyword: 'ForwardAgent', value: 'no' },
  C: { keyword: 'Compression', value: 'yes' },
  K: { keyword: 'GSSAPIAuthentication', value: 'yes' },
  k: { keyword: 'GSSAPIDelegateCredentials', value: 'no' },
  q: { keyword: 'LogLevel', value: 'QUIET' },
  t: { keyword: 'RequestTTY', value: 'yes' },
  T: { keyword: 'RequestTTY', value: 'no' },
  v: { keyword: 'LogLevel', value: 'VERBOSE' },
  X: { keyword: 'ForwardX11', value: 'yes' },
  x: { keyword: 'ForwardX11', value: 'no' },
}

/** What hydra-ops decides by itself: the pinned host key is always verified. */
const ours = new Set([
  'stricthostkeychecking',
  'userknownhostsfile',
  'globalknownhostsfile',
  'hostkeyalias',
  'hostkeyalgorithms',
  'updatehostkeys',
])

/**
 * `deployment.sshOptions` (`-o X=Y`, `X=Y`, `-p 2222`, `-i file` …) as lines of ssh_config. What would loosen the
 * check of the host key is left out; what cannot be said there is refused.
 */
export function parseSshOptions(target: Pick<SshTarget, 'machine' | 'sshOptions'>): SshOption[] {
  const words = target.sshOptions.flatMap(splitOnce)
  const parsed: SshOption[] = []
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? ''
    const flag = /^-([A-Za-z0-9])(.*)$/s.exec(word)
    if (flag === null) {
      parsed.push(assignment(target, word))
      continue
    }
    const [, letter = '', attached = ''] = flag
    const plain = withoutValue[letter]
    if (plain !== undefined && attached === '') {
      parsed.push(plain)
      continue
    }
    const keyword = withValue[letter]
    if (letter !== 'o' && keyword === undefined) throw notUnderstood(target, word)
    const value = attached === '' ? words[++at] : attached
    if (value === undefined) throw notUnderstood(target, word)
    parsed.push(
      keyword === undefined ? assignment(target, value) : { keyword, value: oneLine(target, value) },
    )
  }
  return parsed.filter(({ keyword }) => !ours.has(keyword.toLowerCase()))
}

/** `-p 2222` in one string, as NixOps users write it. */
function splitOnce(option: string): string[] {
  const parts = /^(-[A-Za-z0-9])\s+(.*)$/s.exec(option.trim())
  return parts === null ? [option.trim()] : [parts[1] ?? '', parts[2] ?? '']
}

function assignment(target: Pick<SshTarget, 'machine'>, text: string): SshOption {
  const parts = /^([A-Za-z][A-Za-z0-9]*)(?:\s*=\s*|\s+)(.+)$/s.exec(text)
  if (parts === null) throw notUnderstood(target, text)
  return { keyword: parts[1] ?? '', value: oneLine(target, parts[2] ?? '') }
}

function oneLine(target: Pick<SshTarget, 'machine'>, value: string): string {
  if (/[\n\r\0]/.test(value)) throw notUnderstood(target, value)
  return value.trim()
}

function notUnderstood({ machine }: Pick<SshTarget, 'machine'>, word: string): Error {
  return usageError(`machine '${machine}': deployment.sshOptions: '${word}' cannot be taken over`, {
    machine,
    hint: 'write it as [ "-o" "Keyword=value" ], with a keyword of ssh_config(5)',
  })
}

/** The target with those of its sshOptions that our own connection must follow too. As in ssh, the first one counts. */
export function withSshOptions(target: SshTarget, homeDir: string): SshTarget {
  if (target.sshOptions.length === 0) return target
  const options = parseSshOptions(target)
  const first = (name: string) => options.find(({ keyword }) => keyword.toLowerCase() === name)?.value
  const files = options.flatMap(({ keyword, value }) =>
    keyword.toLowerCase() === 'identityfile' ? [fileOf(value, homeDir)] : [],
  )
  const agent = first('identityagent')
  return {
    ...target,
    host: first('hostname') ?? target.host,
    port: portOf(first('port')) ?? target.port,
    user: first('user') ?? target.user,
    identityFiles: [...files, ...target.identityFiles.filter((file) => !files.includes(file))],
    identitiesOnly: flagOf(first('identitiesonly')) ?? target.identitiesOnly,
    useAgent: agent === undefined ? target.useAgent : agent !== 'none',
    agentSocket:
      agent === undefined || agent === 'none' || agent === 'SSH_AUTH_SOCK'
        ? target.agentSocket
        : fileOf(agent, homeDir),
    ...proxyOf(first('proxyjump'), first('proxycommand'), target),
  }
}

function proxyOf(
  jump: string | undefined,
  command: string | undefined,
  target: SshTarget,
): Pick<SshTarget, 'jump' | 'proxyCommand'> {
  if (jump === undefined && command === undefined) {
    return { jump: target.jump, proxyCommand: target.proxyCommand }
  }
  const used = (value: string | undefined) => (value === 'none' ? undefined : value)
  const tokens: Record<string, string> = {
    '%%': '%',
    '%h': target.host,
    '%n': target.machine,
    '%p': String(target.port),
    '%r': target.user,
  }
  return {
    jump: used(jump),
    proxyCommand: used(command)?.replace(/%./g, (token) => tokens[token] ?? token),
  }
}

function fileOf(value: string, homeDir: string): string {
  const bare = value.replace(/^"(.*)"$/, '$1')
  return bare.startsWith('~/') ? join(homeDir, bare.slice(2)) : bare
}

function portOf(value: string | undefined): number | undefined {
  const port = Number(value)
  return Number.isInteger(port) && port > 0 && port < 65536 ? port : undefined
}

function flagOf(value: string | undefined): boolean | undefined {
  return value === undefined ? undefined : value.toLowerCase() === 'yes'
}
