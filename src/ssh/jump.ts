import { connect as connectTcp } from 'node:net'
import type { Duplex } from 'node:stream'
import type { LocalCommands } from '../core/context.js'
import { usageError } from '../core/errors.js'
import { shellQuote } from '../core/shell-quote.js'
import type { SshTarget } from '../core/ssh.js'
import { isHop } from '../core/ssh-options.js'

/** The way to a machine's sshd, before a word of SSH is spoken. */
export interface Way {
  readonly stream: Duplex
  /** Resolves when bytes can flow; a proxy has no such moment, so at once. Errors come from the stream. */
  readonly connected: Promise<void>
  /** The last lines that a proxy wrote to stderr. */
  said(): string
}

const keptLines = 10

/** Words of the command that carries a connection through a jump, with the user's own ssh configuration. */
export function jumpWords(jump: string, destination: string): string[] {
  const hops = jump.split(',').map((hop) => hop.trim())
  const last = hops.pop() ?? ''
  return [
    'ssh',
    ...['-o', 'BatchMode=yes'],
    // A key that is not known is an error; nothing is written to the user's known_hosts.
    ...['-o', 'StrictHostKeyChecking=yes', '-o', 'UpdateHostKeys=no'],
    ...['-W', destination],
    ...(hops.length === 0 ? [] : ['-J', hops.map((hop) => checked(hop, jump)).join(',')]),
    ...destinationWords(checked(last, jump)),
  ]
}

/** `user@host:port`, `ssh://…` or `[v6]:port` as separate words, so that none can be taken for an option. */
function destinationWords(hop: string): string[] {
  if (hop.startsWith('ssh://')) return ['--', hop]
  const at = hop.lastIndexOf('@')
  const user = at === -1 ? [] : ['-l', hop.slice(0, at)]
  const parts = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(hop.slice(at + 1))
  const host = parts === null ? hop.slice(at + 1) : (parts[1] ?? parts[2] ?? '')
  const port = parts?.[3] === undefined ? [] : ['-p', parts[3]]
  return [...user, ...port, '--', host]
}

function checked(hop: string, jump: string): string {
  if (isHop(hop)) return hop
  throw usageError(`'${jump}' is not a jump host`, { hint: 'write it as user@host:port' })
}

/** ssh's own rule since 9.6: a name that could be more than a name to a shell is refused. */
export function checkHostName(target: SshTarget): void {
  const { machine, host, user } = target
  if (!/^[A-Za-z0-9_:[][A-Za-z0-9_.:%[\]-]*$/.test(host)) {
    throw usageError(`machine '${machine}': '${host}' is not a host name or address`, { machine })
  }
  if (!/^[^\s'"`$\\;&<>|(){}\0-][^\s'"`$\\;&<>|(){}\0]*$/.test(user)) {
    throw usageError(`machine '${machine}': '${user}' is not a user name`, { machine })
  }
}

export interface WayOptions {
  readonly local: Pick<LocalCommands, 'spawnDuplex'>
  readonly env: Readonly<Record<string, string | undefined>>
  readonly signal: AbortSignal
}

export function hasProxy(target: SshTarget): boolean {
  return target.jump !== undefined || target.proxyCommand !== undefined
}

/** Opens the way: a TCP connection, or the stdio of `ssh -W` or of the user's ProxyCommand. */
export function openWay(target: SshTarget, options: WayOptions): Way {
  checkHostName(target)
  const argv = proxyWords(target)
  return argv === undefined ? direct(target) : proxied(target, argv, options)
}

function proxyWords(target: SshTarget): string[] | undefined {
  if (target.jump !== undefined) return jumpWords(target.jump, `[${target.host}]:${target.port}`)
  // As ssh does: through a shell, since it is a command line that the user wrote.
  if (target.proxyCommand !== undefined) return ['sh', '-c', `exec ${target.proxyCommand}`]
  return undefined
}

function direct(target: SshTarget): Way {
  const host = target.host.replace(/^\[(.*)\]$/, '$1')
  const socket = connectTcp({ host, port: target.port, noDelay: true, keepAlive: true })
  const connected = new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve).once('error', reject)
    socket.once('close', () => reject(new Error('closed')))
  })
  // Whoever does not wait for it learns of errors by the stream.
  connected.catch(() => {})
  return { stream: socket, connected, said: () => '' }
}

function proxied(target: SshTarget, argv: readonly string[], options: WayOptions): Way {
  const lines: string[] = []
  const stream = options.local.spawnDuplex(argv, {
    signal: options.signal,
    env: definedOnly(options.env),
    what: `reach machine '${target.machine}' through ${target.jump ?? 'its ProxyCommand'}`,
    onLine: (line) => {
      lines.push(line)
      if (lines.length > keptLines) lines.shift()
    },
  })
  return { stream, connected: Promise.resolve(), said: () => lines.join('\n') }
}

/** For a generated configuration: the jump as a ProxyCommand, since `-F` would be handed on to the jump's ssh. */
export function jumpCommand(jump: string): string {
  const destination = '[%h]:%p'
  return jumpWords(jump, destination)
    .map((word) => (word === destination ? word : word.replaceAll('%', '%%')))
    .map(shellQuote)
    .join(' ')
}

/** An environment for a child process: without the names that are not set. */
export function definedOnly(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  )
}
