import { unreachable } from '../core/errors.js'
import type { SshTarget } from '../core/ssh.js'
import type { AttemptFailed } from './attempt.js'
import { type Login, loginRefused } from './login.js'

/** Describes a socket error in words that serve both wait states and error messages. */
export function describeSocketError(code: string | undefined, message: string): string {
  switch (code) {
    case 'ECONNREFUSED':
      return 'the port is closed'
    case 'ETIMEDOUT':
      return 'no answer'
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'EHOSTDOWN':
    case 'EADDRNOTAVAIL':
      return 'there is no route to the host'
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
    case 'EAI_NONAME':
      return 'the host name cannot be resolved'
    case 'ECONNRESET':
    case 'EPIPE':
      return 'the server closes the connection at once'
    default:
      return message
  }
}

/** Tells whether a retry may soon succeed. sshd silently drops connections when many arrive at once (MaxStartups). */
export function mayPass(failed: AttemptFailed): boolean {
  if (failed.phase === 'login' || failed.timedOut) return false
  if (failed.said !== '') return /kex_exchange_identification|Connection (reset|closed)/.test(failed.said)
  return failed.code === 'ECONNRESET' || failed.code === 'EPIPE' || isDroppedEarly(failed)
}

/** Tells whether a time limit ended an attempt before the server sent anything. */
export function isCutShort({ timedOut, phase }: AttemptFailed): boolean {
  return timedOut && (phase === 'dial' || phase === 'banner')
}

function isDroppedEarly(failed: AttemptFailed): boolean {
  return /Connection lost before handshake|the connection was closed/.test(failed.message)
}

/** Builds the error for a failed connection. */
export async function connectError(
  target: SshTarget,
  login: Login,
  failed: AttemptFailed,
  timeoutMs: number,
): Promise<Error> {
  if (failed.phase === 'login' && !failed.timedOut) {
    if (/authentication|denied/i.test(failed.message)) return loginRefused(target, login, failed.message)
  }
  const { machine } = target
  return unreachable(
    machine,
    `machine '${machine}': ${target.host}:${target.port}: ${reason(failed, timeoutMs)}`,
    {
      hint: hintFor(target, failed),
      ...(failed.said === '' ? {} : { detail: failed.said }),
    },
  )
}

function reason(failed: AttemptFailed, timeoutMs: number): string {
  if (failed.timedOut) return afterDeadline(failed, `within ${timeoutMs / 1000} s`)
  if (failed.said !== '') return 'the machine cannot be reached through its jump host'
  if (failed.message.startsWith('Handshake failed: no matching')) {
    return `the server and hydra-ops have no SSH algorithm in common (${failed.message.slice('Handshake failed: '.length)})`
  }
  if (isDroppedEarly(failed) && failed.phase !== 'login') {
    return 'the server closes the connection before it sends anything (sshd may be overloaded, or may block this host)'
  }
  if (/identification|Invalid header|packet length/i.test(failed.message))
    return 'the server does not speak SSH'
  const said = describeSocketError(failed.code, failed.message)
  return failed.phase === 'login' ? `the connection broke during the login (${said})` : said
}

function afterDeadline(failed: AttemptFailed, within: string): string {
  switch (failed.phase) {
    case 'dial':
      return `no answer ${within}`
    case 'banner':
      return `the server accepted the connection but sent nothing ${within}`
    case 'handshake':
      return `the server began the SSH handshake but did not continue ${within}`
    case 'login':
      return `the server did not finish the login ${within}`
  }
}

function hintFor(target: SshTarget, failed: AttemptFailed): string {
  if (failed.said !== '') {
    return `try ssh ${target.jump ?? target.host}; known_hosts needs the host key, and the agent needs your key`
  }
  if (failed.code === 'ENOTFOUND' || failed.code === 'EAI_AGAIN') return 'check deployment.targetHost'
  if (failed.code === 'ECONNREFUSED') return 'check that the machine is up and that sshd listens on that port'
  return `check that the machine is up: hydra-ops check, or ssh -v -p ${target.port} ${target.user}@${target.host}`
}
