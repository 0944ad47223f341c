import { setTimeout as sleep } from 'node:timers/promises'
import { failure, OpsError, throwIfInterrupted } from '../../core/errors.js'
import type { Host } from '../../core/ssh.js'
import { type Job, journal } from './job.js'
import { bootMs, hostOf, waitAndConnect } from './reach.js'

const pollMs = 1_000

/** Reboots a machine from inside and waits until it is up under another boot id, the only proof there is. */
export async function rebootMachine(job: Job, options: { hard?: boolean } = {}): Promise<Host> {
  const before = await bootIdOf(hostOf(job), job.run.signal)
  journal(job, 'machine.reboot', { data: before })
  job.run.log('rebooting')
  // The connection usually goes away before the command's result does; the boot id decides.
  await hostOf(job)
    .script(options.hard === true ? 'systemctl reboot --force --force' : 'systemctl reboot', [], {
      signal: job.run.signal,
      timeoutMs: 30_000,
      what: 'reboot',
    })
    .catch(ignoreLost)
  const deadline = Date.now() + bootMs
  while (Date.now() < deadline) {
    throwIfInterrupted(job.run.signal)
    await sleep(pollMs, undefined, { signal: job.run.signal })
    const host = await tryConnect(job, deadline)
    if (host === undefined) continue
    const now = await bootIdOf(host, job.run.signal).catch(ignoreLost)
    if (now !== undefined && now !== before) {
      journal(job, 'machine.reboot', { result: 'done', data: now })
      job.changed = true
      return host
    }
  }
  throw failure('REBOOT', `machine '${job.machine}' did not come up under a new boot id within ${bootMs / 1000} s`, {
    machine: job.machine,
    hint: `hydra-ops console ${job.machine} --log`,
  })
}

async function tryConnect(job: Job, deadline: number): Promise<Host | undefined> {
  return waitAndConnect(job, Math.max(1_000, deadline - Date.now())).catch(ignoreLost)
}

async function bootIdOf(host: Host, signal: AbortSignal): Promise<string> {
  const result = await host.exec(['cat', '/proc/sys/kernel/random/boot_id'], {
    signal,
    timeoutMs: 20_000,
    what: 'read the boot id',
  })
  if (result.kind !== 'exited' || result.code !== 0) throw failure('BOOT_ID', 'the boot id could not be read')
  return result.stdout.trim()
}

/** While a machine goes down and comes up, a lost connection is expected; an interruption is not. */
function ignoreLost(error: unknown): undefined {
  if (error instanceof OpsError && error.code === 'INTERRUPTED') throw error
  return undefined
}

