import { throwIfAborted } from '../core/errors.js'
import type { ConnectOptions, SshTarget } from '../core/ssh.js'
import { within } from './bounded.js'
import type { Connection } from './connection.js'
import { loginShellBroken } from './login-shell.js'
import {
  canTakePassword,
  type Escalation,
  launchAsLoginUser,
  noEscalation,
  passwordCheckScript,
  passwordNeeded,
  passwordRefused,
  probeScript,
  readProbe,
  wantsPassword,
} from './sudo.js'

/** A login shell with a slow profile, or PAM asking a directory server. */
const probeMs = 60_000
/** Long enough for the trailing words of a login shell, short beside a round trip. */
const noiseMs = 1_000

export interface Probed {
  readonly escalation: Escalation
  /** Undefined = no command has run yet. */
  readonly noisy: boolean | undefined
}

/**
 * Who are we there, how do we become root, does the login shell print. Not asked of a login as root: a command costs
 * up to a fifth of a second (measured: root's start files), and the first real one tells of the shell as well.
 */
export async function probeLogin(connection: Connection, options: ConnectOptions): Promise<Probed> {
  const { target } = connection
  if (target.user === 'root') return { escalation: { kind: 'root' }, noisy: undefined }
  if (options.asLoginUser === true) return { escalation: { kind: 'sudo' }, noisy: undefined }
  const ran = await connection.run(probeScript(target), launchAsLoginUser, {
    signal: options.signal,
    timeoutMs: probeMs,
    what: 'try the login',
  })
  await within(ran.closed, noiseMs)
  const { outcome } = ran
  if (outcome.kind !== 'exited') throw loginShellBroken(target, outcome)
  const noisy = ran.noisy()
  const found = readProbe(outcome.stdout, outcome.stderr)
  if (found === 'root') return { escalation: { kind: 'root' }, noisy }
  if (found === 'without password') return { escalation: { kind: 'sudo' }, noisy }
  if (!canTakePassword(target) || found.status === 127 || !wantsPassword(found.refused)) {
    throw noEscalation({ target, said: found.refused }, found.status)
  }
  return { escalation: await askPassword(connection, options, found.refused), noisy }
}

/** Asks for the password and proves it, so that no later command can hang on a wrong one. */
export async function askPassword(
  connection: Connection,
  options: Pick<ConnectOptions, 'signal' | 'sudoPassword'>,
  said: string,
): Promise<Escalation> {
  const { target } = connection
  if (options.sudoPassword === undefined) throw passwordNeeded({ target, said })
  const password = await options.sudoPassword()
  throwIfAborted(options.signal)
  if (password === '' || /[\n\r\0]/.test(password))
    throw passwordRefused({ target, said: 'incorrect password' })
  await provePassword(connection, target, password, options.signal)
  return { kind: 'sudo-password', password }
}

async function provePassword(
  connection: Connection,
  target: SshTarget,
  password: string,
  signal: AbortSignal,
): Promise<void> {
  const { outcome } = await connection.run(passwordCheckScript(target), launchAsLoginUser, {
    signal,
    timeoutMs: probeMs,
    what: 'become root',
    stdin: `${password}\n`,
  })
  if (outcome.kind !== 'exited') throw loginShellBroken(target, outcome)
  if (outcome.code === 0 && outcome.stdout.trim() === '0') return
  throw passwordRefused({ target, said: outcome.stderr })
}
