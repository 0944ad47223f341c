import { requireSuccess } from '../core/command-result.js'
import { failure } from '../core/errors.js'
import { machineLock } from '../core/machine-places.js'
import type { Run } from '../core/run.js'
import type { Host } from '../core/ssh.js'
import { hostOf } from '../machine/connect.js'
import { isInHome } from '../machine/home.js'
import { type MachineSession, recordOf } from '../machine/machine.js'
import { targetScript } from '../remote/target-scripts.js'

const { file: lockFile, staleSeconds } = machineLock
const askMs = 60_000
/**
 * Deadline for the release. The deadline is short, because the next attempt of the same operator takes over a remaining
 * lock.
 */
const releaseMs = 10_000
/** Exit status of the script when another operator holds the lock. */
const held = 75
/** Descriptions of both commands to the machine. Errors show the descriptions, and the benchmark recognizes them. */
export const setUpLock = {
  take: 'take the set-up lock of the machine',
  release: 'release the set-up lock of the machine',
}

/**
 * Runs set-up tasks while no other operator runs them on the machine. The state's own lock only protects operators who
 * share a state. This lock also protects operators with separate copies of a state.
 */
export async function aloneOnMachine<T>(session: MachineSession, action: () => Promise<T>): Promise<T> {
  // The lock needs root, which hydra-ops does not have for a Nix installation in a home directory.
  if (holders.has(session) || isInHome(session.definition, recordOf(session))) return action()
  const { user, host } = session.ops.operator
  const who = `${user}@${host} with the state ${session.deployment.paths.root}`
  // The work may end on a connection other than the connection on which it began.
  return withSetUpLock(
    () => hostOf(session),
    who,
    session.run,
    async () => {
      holders.add(session)
      try {
        return await action()
      } finally {
        holders.delete(session)
      }
    },
  )
}

/** Sessions that hold the lock of their machine. */
const holders = new WeakSet<MachineSession>()

export async function withSetUpLock<T>(
  hostNow: () => Host,
  who: string,
  run: Run,
  action: () => Promise<T>,
): Promise<T> {
  await take(hostNow(), who, run)
  try {
    return await action()
  } finally {
    // The release has its own signal, because the run's signal is already aborted after Ctrl-C.
    const signal = AbortSignal.timeout(releaseMs)
    const what = setUpLock.release
    const script = targetScript('machine-lock/release', { file: lockFile, who })
    const release = async () => hostNow().script(script, [], { signal, timeoutMs: releaseMs, what })
    await release().catch(() => {})
  }
}

async function take(host: Host, who: string, run: Run): Promise<void> {
  const what = setUpLock.take
  const script = targetScript('machine-lock/take', { file: lockFile, who, stale: staleSeconds })
  const result = await host.script(script, [], { signal: run.signal, timeoutMs: askMs, what })
  if (result.kind !== 'exited' || result.code !== held) {
    requireSuccess(result, { machine: host.machine, what })
    return
  }
  const [holder = 'somebody', seconds = '0'] = result.stdout.trim().split('\n')
  const minutes = Math.round(Number(seconds) / 60)
  throw failure(
    'BEING_SET_UP',
    `machine '${host.machine}' has been locked for set-up by ${holder} for ${minutes === 0 ? 'less than a minute' : `${minutes} min`}`,
    {
      machine: host.machine,
      hint: `wait until that set-up ends; if its process no longer runs, remove ${lockFile} on the machine`,
    },
  )
}
