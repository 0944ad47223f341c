import { readFileSync } from 'node:fs'
import { failure, messageOf, OpsError, unreachable } from '../../core/errors.js'
import type { Host, HostKeySeen, SshTarget } from '../../core/ssh.js'
import { journal, type Link, recordOf, resourceFor, updateJob } from './job.js'

/** A guest under emulation on a busy host has needed 40 s; a cold machine with a slow disk more. */
export const bootMs = 5 * 60_000
/** A machine that is said to be up already. */
export const connectMs = 30_000
/** One whose sshd has just begun to answer still boots; sshd itself gives up after 120 s (LoginGraceTime). */
const bootingMs = 110_000
const consoleLines = 20

/** Waits until sshd answers, then logs in. Its error says what was seen, with the end of the serial console. */
export async function waitAndConnect(link: Link, timeoutMs: number): Promise<Host> {
  const target = await targetOf(link)
  let last = ''
  try {
    await link.ops.ssh.waitForBanner(target, {
      signal: link.run.signal,
      timeoutMs,
      onState: (state) => {
        if (state !== last) link.run.log(`waiting for ssh at ${target.host}:${target.port}: ${state}`)
        last = state
      },
    })
  } catch (error) {
    throw await withConsole(link, error)
  }
  return connect(link, bootingMs)
}

/** Logs in; pins the host key at the first contact. Closes an older connection of this link. */
export async function connect(link: Link, timeoutMs = connectMs): Promise<Host> {
  link.host?.close()
  link.host = undefined
  const target = await targetOf(link)
  const { host, hostKey } = await link.ops.ssh.connect(target, {
    signal: link.run.signal,
    timeoutMs,
    sudoPassword: () => sudoPassword(link),
    acceptHostKey: (seen) => acceptHostKey(link, target, seen),
  })
  if (recordOf(link).hostKey !== hostKey) updateJob(link, (draft) => Object.assign(draft, { hostKey }))
  link.host = host
  return host
}

/** The open connection, or an error that is a bug: stages run after `reach`. */
export function hostOf(link: Link): Host {
  if (link.host === undefined) throw new Error(`no connection to ${link.machine}`)
  return link.host
}

export async function targetOf(link: Link): Promise<SshTarget> {
  return link.provider.target(await resourceFor(link), link.run)
}

function sudoPassword(link: Link): Promise<string> {
  const { machine } = link
  link.sudoPassword ??= askOf(link.ops.questions.secret(`sudo password on machine '${machine}':`), () =>
    failure(
      'SUDO_PASSWORD',
      `sudo on machine '${machine}' asks for a password, and there is no terminal to ask on`,
      {
        machine,
        hint: 'run it in a terminal, or let sudo take this user without a password',
      },
    ),
  )
  return link.sudoPassword
}

/** Without a terminal: a failure of this machine, not of the command, since the others need no answer. */
async function askOf<T>(question: Promise<T>, nobody: () => Error): Promise<T> {
  try {
    return await question
  } catch (error) {
    throw error instanceof OpsError && error.code === 'NO_TERMINAL' ? nobody() : error
  }
}

async function acceptHostKey(link: Link, target: SshTarget, seen: HostKeySeen): Promise<boolean> {
  const where = `machine '${link.machine}' (${target.host}:${target.port}) shows the host key ${seen.fingerprint}`
  const pinned = `set deployment.targetHostKey = "${seen.key}"`
  const unknownHostKey = (message: string, hint: string) =>
    failure('HOST_KEY_UNKNOWN', message, { machine: link.machine, hint })
  if (!link.session.writable) {
    throw unknownHostKey(
      `${where}, which is not known yet`,
      `a dry run pins nothing: run 'hydra-ops deploy' first, or ${pinned}`,
    )
  }
  if (link.acceptHostKey) {
    link.run.log(`accepted the host key ${seen.fingerprint} (--accept-host-key)`)
    journal(link, 'ssh.hostkey', { result: 'accepted', data: seen.fingerprint })
    return true
  }
  const yes = await askOf(link.ops.questions.confirm(`${where}. Is it the right one?`), () =>
    unknownHostKey(
      `${where}, which is not known yet, and there is no terminal to ask on`,
      `if it is the right one: hydra-ops deploy --accept-host-key, or ${pinned}`,
    ),
  )
  journal(link, 'ssh.hostkey', { result: yes ? 'accepted' : 'refused', data: seen.fingerprint })
  return yes
}

async function withConsole(link: Link, error: unknown): Promise<unknown> {
  if (!(error instanceof OpsError) || error.code !== 'UNREACHABLE') return error
  const tail = await consoleTail(link)
  if (tail === undefined) return error
  return unreachable(link.machine, error.message, {
    hint: error.hint ?? `hydra-ops console ${link.machine} --log shows the whole boot`,
    cause: error,
    detail: `the end of its serial console:\n${tail}`,
  })
}

async function consoleTail(link: Link): Promise<string | undefined> {
  const file = link.provider.console?.logFile(await resourceFor(link))
  if (file === undefined) return undefined
  try {
    return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-consoleLines).join('\n')
  } catch (error) {
    // The console is extra evidence; its absence must not hide the error itself.
    link.run.log(`no console log: ${messageOf(error)}`)
    return undefined
  }
}
