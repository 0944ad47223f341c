import { readFileSync } from 'node:fs'
import { failure, messageOf, OpsError, unreachable } from '../core/errors.js'
import type { ConnectOptions, Host, HostKeySeen, SshTarget } from '../core/ssh.js'
import { connectTimeoutMs } from '../core/ssh-options.js'
import { isInHome, withoutRoot } from './home.js'
import { journal, type MachineSession, recordOf, resourceFor, updateJob } from './machine.js'

/** Deadline for a boot. An emulated guest on a busy host has needed 40 s, and a cold machine with a slow disk more. */
export const bootMs = 5 * 60_000
/** Deadline for logging in to a machine that should be up already, unless its sshOptions have a ConnectTimeout. */
const connectMs = 30_000
/**
 * Deadline for a login during boot, when sshd has just begun to answer. sshd itself disconnects after 120 s
 * (LoginGraceTime).
 */
const bootingMs = 110_000
const consoleLines = 20

/**
 * Waits until sshd answers, then logs in. The error contains the last observation and the end of the serial console's
 * log.
 */
export async function waitAndConnect(session: MachineSession, timeoutMs: number): Promise<Host> {
  const target = await targetOf(session)
  let last = ''
  try {
    await session.ops.ssh.waitForBanner(target, {
      signal: session.run.signal,
      timeoutMs,
      onState: (state) => {
        if (state !== last) session.run.log(`waiting for ssh at ${target.host}:${target.port}: ${state}`)
        last = state
      },
    })
  } catch (error) {
    throw await withConsole(session, error)
  }
  return connect(session, bootingMs)
}

/** Logs in, and pins the host key at the first contact. Closes an older connection of this session. */
export async function connect(
  session: MachineSession,
  timeoutMs?: number,
  { newConnection }: Pick<ConnectOptions, 'newConnection'> = {},
): Promise<Host> {
  session.host?.close()
  session.host = undefined
  const target = await targetOf(session)
  const inHome = isInHome(session.definition, recordOf(session))
  const { host, hostKey } = await session.ops.ssh.connect(target, {
    ...(inHome ? { asLoginUser: true } : {}),
    ...(newConnection === true ? { newConnection } : {}),
    signal: session.run.signal,
    timeoutMs: timeoutMs ?? loginMs(target),
    sudoPassword: () => sudoPassword(session),
    acceptHostKey: (seen) => acceptHostKey(session, target, seen),
  })
  session.host = inHome ? withoutRoot(host) : host
  if (recordOf(session).hostKey !== hostKey)
    await updateJob(session, (draft) => Object.assign(draft, { hostKey }))
  return session.host
}

/** Returns the deadline for logging in to a machine that should be up already. */
export function loginMs({ sshOptions }: SshTarget, usual = connectMs): number {
  return connectTimeoutMs(sshOptions) ?? usual
}

/** Returns the open connection; a missing connection is a bug, because the callers run after `reach`. */
export function hostOf(session: MachineSession): Host {
  if (session.host === undefined) throw new Error(`no connection to ${session.machine}`)
  return session.host
}

export async function targetOf(session: MachineSession): Promise<SshTarget> {
  return session.provider.target(await resourceFor(session), session.run)
}

function sudoPassword(session: MachineSession): Promise<string> {
  const { machine } = session
  session.sudoPassword ??= askOf(session.ops.questions.secret(`sudo password on machine '${machine}':`), () =>
    failure(
      'SUDO_PASSWORD',
      `sudo on machine '${machine}' needs a password, but hydra-ops has no terminal to ask for one`,
      {
        machine,
        hint: 'run hydra-ops in a terminal, or let this user run sudo without a password',
      },
    ),
  )
  return session.sudoPassword
}

/**
 * Awaits the answer to a question. A missing terminal fails only this machine, because other machines may need no
 * answer.
 */
async function askOf<T>(question: Promise<T>, nobody: () => Error): Promise<T> {
  try {
    return await question
  } catch (error) {
    throw error instanceof OpsError && error.code === 'NO_TERMINAL' ? nobody() : error
  }
}

async function acceptHostKey(
  session: MachineSession,
  target: SshTarget,
  seen: HostKeySeen,
): Promise<boolean> {
  const where = `machine '${session.machine}' (${target.host}:${target.port}) presents the host key ${seen.fingerprint}`
  const pinned = `set deployment.targetHostKey = "${seen.key}"`
  const unknownHostKey = (message: string, hint: string) =>
    failure('HOST_KEY_UNKNOWN', message, { machine: session.machine, hint })
  if (!session.deployment.writable) {
    throw unknownHostKey(
      `${where}, which is not known yet`,
      `a dry run stores no host key; run 'hydra-ops deploy' first, or ${pinned}`,
    )
  }
  if (session.acceptHostKey) {
    session.run.log(`accepted the host key ${seen.fingerprint} (--accept-host-key)`)
    await journal(session, 'ssh.hostkey', { result: 'accepted', data: seen.fingerprint })
    return true
  }
  const yes = await askOf(session.ops.questions.confirm(`${where}. Is this host key correct?`), () =>
    unknownHostKey(
      `${where}, which is not known yet; hydra-ops has no terminal to ask about it`,
      `if the host key is correct, run hydra-ops deploy --accept-host-key, or ${pinned}`,
    ),
  )
  await journal(session, 'ssh.hostkey', { result: yes ? 'accepted' : 'refused', data: seen.fingerprint })
  return yes
}

async function withConsole(session: MachineSession, error: unknown): Promise<unknown> {
  if (!(error instanceof OpsError) || error.code !== 'UNREACHABLE') return error
  const tail = await consoleTail(session)
  if (tail === undefined) return error
  return unreachable(session.machine, error.message, {
    hint: error.hint ?? `hydra-ops console ${session.machine} --log shows the whole boot`,
    cause: error,
    detail: `the end of the serial console log:\n${tail}`,
  })
}

async function consoleTail(session: MachineSession): Promise<string | undefined> {
  const file = session.provider.console?.logFile(await resourceFor(session))
  if (file === undefined) return undefined
  try {
    return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-consoleLines).join('\n')
  } catch (error) {
    // The console is extra evidence, and its absence must not hide the error itself.
    session.run.log(`the console log cannot be read: ${messageOf(error)}`)
    return undefined
  }
}
