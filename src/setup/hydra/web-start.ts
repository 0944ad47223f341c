import { messageOf, throwIfAborted } from '../../core/errors.js'
import { refusal } from '../../core/http-request.js'
import type { TaskRun } from '../../core/setup-task.js'
import type { Host } from '../../core/ssh.js'
import { requireUnit } from '../../remote/services.js'
import { waitUntil } from '../../remote/wait-until.js'
import { machineTime, newestLines } from '../journal.js'
import { JournalWatch, type WatchPace } from './journal-watch.js'
import type { WebEntrance } from './settings.js'
import { askEntrance } from './web-session.js'

/**
 * Deadline for the first answer. Perl starts in half a minute on an emulated guest, and in 255 s on a busy one
 * (measured).
 */
export const firstAnswerMs = 900_000
/** Hint for a web server that does not answer. */
export const firstAnswerHint = 'journalctl -u hydra-server -u hydra-init on the machine shows more'
const requestMs = 60_000

export interface StartPace extends WatchPace {
  readonly pauseMs: number
}

const usualPace: StartPace = { pauseMs: 2_000, everyMs: 15_000, apartMs: 60_000 }

/**
 * Waits until a Hydra that NixOS starts gives its first answer. A NixOS switch ends minutes before that, and a boot
 * even before the database runs. A task waits on a Debian machine.
 */
export async function untilServed(
  host: Host,
  entrance: WebEntrance,
  run: TaskRun,
  pace = usualPace,
): Promise<void> {
  if (entrance.startedBy !== 'nixos' || (await startProblem(entrance, run)) === undefined) return
  const units = ['hydra-init.service', 'hydra-server.service']
  await requireUnit(host, 'hydra-server.service', run)
  const since = await machineTime(host, run)
  const journal = new JournalWatch(host, { units }, since, pace)
  await waitUntil(host.machine, run, {
    what: `Hydra answers at ${entrance.url}`,
    deadlineMs: firstAnswerMs,
    hint: firstAnswerHint,
    pauseMs: pace.pauseMs,
    evidence: () => newestLines(host, units, since, run),
    wrong: () => startProblem(entrance, run),
    hopeless: () => journal.lastingCause(run),
  })
}

/** Describes why nothing answers yet; `undefined` means that Hydra answers, even with a refusal. */
async function startProblem(entrance: WebEntrance, run: TaskRun): Promise<string | undefined> {
  try {
    const answer = await askEntrance(entrance, run, { path: '/', timeoutMs: requestMs })
    const isProxy = answer.status >= 502 && answer.status <= 504
    return isProxy ? `GET / answers with ${refusal(answer)}` : undefined
  } catch (error) {
    throwIfAborted(run.signal)
    return messageOf(error)
  }
}
