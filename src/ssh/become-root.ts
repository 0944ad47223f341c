import { throwIfAborted } from '../core/errors.js'
import type { ConnectOptions, SshTarget } from '../core/ssh.js'
import type { Connection } from './connection.js'
import { loginShellBroken } from './login-shell.js'
import {
  type Escalation,
  launchAsLoginUser,
  passwordCheckScript,
  passwordNeeded,
  passwordRefused,
} from './sudo.js'

/**
 * The time limit for a test of the password. The login shell may have a slow profile, or PAM may query a directory
 * server.
 */
const probeMs = 60_000

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
