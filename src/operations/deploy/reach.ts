import { readFileSync } from 'node:fs'
import { messageOf, OpsError, unreachable, usageError } from '../../core/errors.js'
import type { HostKeySeen, Host, SshTarget } from '../../core/ssh.js'
import { type Job, journal, recordOf, resourceFor, updateJob } from './job.js'

/** A guest under emulation on a busy host has needed 40 s; a cold machine with a slow disk more. */
export const bootMs = 5 * 60_000
/** A machine that is said to be up already. */
export const connectMs = 30_000
const consoleLines = 20

/** Waits until sshd answers, then logs in. Its error says what was seen, with the end of the serial console. */
export async function waitAndConnect(job: Job, timeoutMs: number): Promise<Host> {
  const target = await targetOf(job)
  let last = ''
  try {
    await job.ops.ssh.waitForBanner(target, {
      signal: job.run.signal,
      timeoutMs,
      onState: (state) => {
        if (state !== last) job.run.log(`waiting for ssh at ${target.host}:${target.port}: ${state}`)
        last = state
      },
    })
  } catch (error) {
    throw await withConsole(job, error)
  }
  return connect(job)
}

/** Logs in; pins the host key at the first contact. Closes an older connection of this job. */
export async function connect(job: Job): Promise<Host> {
  job.host?.close()
  job.host = undefined
  const target = await targetOf(job)
  const { host, hostKey } = await job.ops.ssh.connect(target, {
    signal: job.run.signal,
    timeoutMs: connectMs,
    sudoPassword: () => sudoPassword(job),
    acceptHostKey: (seen) => acceptHostKey(job, target, seen),
  })
  if (recordOf(job).hostKey !== hostKey) updateJob(job, (draft) => Object.assign(draft, { hostKey }))
  job.host = host
  return host
}

/** The open connection, or an error that is a bug: stages run after `reach`. */
export function hostOf(job: Job): Host {
  if (job.host === undefined) throw new Error(`no connection to ${job.machine} at stage ${job.at}`)
  return job.host
}

export async function targetOf(job: Job): Promise<SshTarget> {
  return job.provider.target(await resourceFor(job), job.run)
}

async function sudoPassword(job: Job): Promise<string> {
  job.sudoPassword ??= await job.ops.questions.secret(`sudo password on machine '${job.machine}':`)
  return job.sudoPassword
}

async function acceptHostKey(job: Job, target: SshTarget, seen: HostKeySeen): Promise<boolean> {
  const where = `machine '${job.machine}' (${target.host}:${target.port}) shows the host key ${seen.fingerprint}`
  if (!job.session.writable) {
    throw usageError(`${where}, which is not known yet`, {
      machine: job.machine,
      hint: `a dry run pins nothing: run 'hydra-ops deploy' first, or set deployment.targetHostKey = "${seen.key}"`,
    })
  }
  if (job.request.acceptHostKey) {
    job.run.log(`accepted the host key ${seen.fingerprint} (--accept-host-key)`)
    journal(job, 'ssh.hostkey', { result: 'accepted', data: seen.fingerprint })
    return true
  }
  const yes = await job.ops.questions.confirm(`${where}. Is it the right one?`)
  journal(job, 'ssh.hostkey', { result: yes ? 'accepted' : 'refused', data: seen.fingerprint })
  return yes
}

async function withConsole(job: Job, error: unknown): Promise<unknown> {
  if (!(error instanceof OpsError) || error.code !== 'UNREACHABLE') return error
  const tail = await consoleTail(job)
  if (tail === undefined) return error
  return unreachable(job.machine, error.message, {
    hint: error.hint ?? `hydra-ops console ${job.machine} --log shows the whole boot`,
    cause: error,
    detail: `the end of its serial console:\n${tail}`,
  })
}

async function consoleTail(job: Job): Promise<string | undefined> {
  const file = job.provider.console?.logFile(await resourceFor(job))
  if (file === undefined) return undefined
  try {
    return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-consoleLines).join('\n')
  } catch (error) {
    // The console is extra evidence; its absence must not hide the error itself.
    job.run.log(`no console log: ${messageOf(error)}`)
    return undefined
  }
}
