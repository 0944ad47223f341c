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

/** The time limit of the probe. The login shell may have a slow profile, or PAM may ask a directory server. */
const probeMs = 60_000
/** A wait that is long enough for a login shell's last output and short beside a round trip. */
const noiseMs = 1_000

export interface Probed {
  readonly escalation: Escalation
  /** Whether the shell prints text; undefined before any command has run. */
  readonly noisy: boolean | undefined
}

/**
 * Finds the login's uid, the way to root, and whether the login shell prints text. A root login is not probed: a
 * command costs up to 0.2 s (measured: root's start files). The first real command shows root's shell as well.
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

/** Asks for the password and tests it, so that no later command can hang on a wrong password. */
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
