import { connect as connectTcp } from 'node:net'
import type { Duplex } from 'node:stream'
import type { LocalCommands } from '../core/context.js'
import { usageError } from '../core/errors.js'
import { shellQuote } from '../core/shell-quote.js'
import type { SshTarget } from '../core/ssh.js'
import { isHop } from '../core/ssh-options.js'
import type { GreetedConnections } from './greeted.js'

/** The way to a machine's sshd, before any SSH is spoken. */
export interface Way {
  readonly stream: Duplex
  /**
   * Resolves when bytes can flow. A proxy does not report this moment, so its promise resolves at once. Errors come
   * from the stream.
   */
  readonly connected: Promise<void>
  /** Returns the last lines that a proxy wrote to stderr. */
  said(): string
}

const keptLines = 10

/**
 * Returns the words of a command that carries a connection through a jump host, with the user's own ssh configuration.
 */
export function jumpWords(jump: string, destination: string): string[] {
  const hops = jump.split(',').map((hop) => hop.trim())
  const last = hops.pop() ?? ''
  return [
    'ssh',
    ...['-o', 'BatchMode=yes'],
    // An unknown host key is an error, and the user's known_hosts stays unchanged.
    ...['-o', 'StrictHostKeyChecking=yes', '-o', 'UpdateHostKeys=no'],
    ...['-W', destination],
    ...(hops.length === 0 ? [] : ['-J', hops.map((hop) => checked(hop, jump)).join(',')]),
    ...destinationWords(checked(last, jump)),
  ]
}

/** Splits `user@host:port`, `ssh://…` or `[v6]:port` into separate words, so that no part can become an option. */
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
  throw usageError(`'${jump}' is not a jump host`, { hint: 'write the jump host as user@host:port' })
}

/** Refuses host and user names with characters that a shell interprets, as ssh itself has done since 9.6. */
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
  readonly greeted: GreetedConnections
  readonly env: Readonly<Record<string, string | undefined>>
  readonly signal: AbortSignal
  /** Whether the login must open its own connection in place of a greeted connection. */
  readonly newConnection?: boolean | undefined
}

export function hasProxy(target: SshTarget): boolean {
  return target.jump !== undefined || target.proxyCommand !== undefined
}

/** Returns a greeted connection, if one waits for a login; otherwise opens the way. */
export function wayForLogin(target: SshTarget, options: WayOptions): Way {
  const isNew = hasProxy(target) || options.newConnection === true
  const stream = isNew ? undefined : options.greeted.take(target)
  return stream === undefined
    ? openWay(target, options)
    : { stream, connected: Promise.resolve(), said: () => '' }
}

/** Opens the way: a TCP connection, or the stdio of `ssh -W` or of the user's ProxyCommand. */
export function openWay(target: SshTarget, options: WayOptions): Way {
  checkHostName(target)
  const argv = proxyWords(target)
  return argv === undefined ? direct(target) : proxied(target, argv, options)
}

function proxyWords(target: SshTarget): string[] | undefined {
  if (target.jump !== undefined) return jumpWords(target.jump, `[${target.host}]:${target.port}`)
  // ssh also runs the user's command line through a shell.
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
  // A caller that does not wait learns of errors from the stream.
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

/**
 * Returns a jump as a ProxyCommand for a generated configuration. ProxyJump would pass `-F` on to the ssh that connects
 * to the jump host.
 */
export function jumpCommand(jump: string): string {
  const destination = '[%h]:%p'
  return jumpWords(jump, destination)
    .map((word) => (word === destination ? word : word.replaceAll('%', '%%')))
    .map(shellQuote)
    .join(' ')
}

/** Returns the environment for a child process, without the variables that are not set. */
export function definedOnly(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  )
}
