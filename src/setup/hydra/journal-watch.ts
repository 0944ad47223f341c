import type { Run } from '../../core/run.js'
import type { Host } from '../../core/ssh.js'
import { causeOfWait } from './diagnosis.js'
import { linesFor, type ReadFor, runsAfter } from './journal-lines.js'

/** The services whose words tell why a build does not turn green. */
export const witnesses = ['hydra-evaluator', 'hydra-queue-runner', 'hydra-builder', 'hydra-server']

const requestMs = 60_000

/** Reads the newest lines since a second of the machine's own clock: what was wrong before may be mended. */
export async function journalSince(
  host: Host,
  units: readonly string[],
  since: string,
  run: Run,
): Promise<string> {
  return read(host, units, [`--since=@${since}`], run)
}

async function read(
  host: Host,
  units: readonly string[],
  more: readonly string[],
  run: Run,
): Promise<string> {
  const argv = ['journalctl', '--quiet', '--no-pager', '--output=cat', '--lines=300', ...more]
  const options = { signal: run.signal, timeoutMs: requestMs, what: 'read the journal of Hydra' }
  return (await host.exec([...argv, ...units.map((name) => `--unit=${name}`)], options)).stdout
}

/** How often the journal is looked at, and how far apart two looks must be to tell of two failures. */
export interface WatchPace {
  readonly everyMs: number
  readonly apartMs: number
}

/** The services whose words count, and the build that is waited for where it is one. */
export interface Watched {
  readonly units: readonly string[]
  readonly build?: ReadFor
}

/** A database that comes up by itself, however long it takes. */
const passing = /the database system is (?:starting up|shutting down|in recovery mode)/

/**
 * Looks at the journal while Hydra, or a build of it, is waited for. One failure may be over at the next try, so that a cause is told
 * once it was seen again later. A queue runner tries again after a minute, an evaluator after half of one (measured).
 * Nothing is told of other builds, nor while the step of this one runs: the build may still turn green.
 */
export class JournalWatch {
  private readonly firstSeen = new Map<string, number>()
  private readonly host: Host
  private readonly watched: Watched
  private readonly pace: WatchPace
  private stepRuns = false
  private place: string
  private nextLook: number

  constructor(host: Host, watched: Watched, since: string, pace: WatchPace) {
    this.host = host
    this.watched = watched
    this.pace = pace
    this.place = `--since=@${since}`
    this.nextLook = performance.now() + pace.everyMs
  }

  /** Finds the cause that came again, when it is time for a look. */
  async lastingCause(run: Run): Promise<string | undefined> {
    const now = performance.now()
    if (now < this.nextLook) return undefined
    this.nextLook = now + this.pace.everyMs
    const { build } = this.watched
    const text = await this.newLines(run)
    if (build !== undefined) this.stepRuns = runsAfter(text, build) ?? this.stepRuns
    const lines = linesFor(text, build).split('\n')
    const cause = causeOfWait(lines.filter((line) => !passing.test(line)).join('\n'))
    if (cause === undefined) return undefined
    const first = this.firstSeen.get(cause)
    if (first === undefined) this.firstSeen.set(cause, now)
    if (this.stepRuns || first === undefined) return undefined
    return now - first >= this.pace.apartMs ? cause : undefined
  }

  private async newLines(run: Run): Promise<string> {
    const text = await read(this.host, this.watched.units, ['--show-cursor', this.place], run)
    const cursor = /^-- cursor: (.+)$/m.exec(text)?.[1]
    if (cursor !== undefined) this.place = `--after-cursor=${cursor}`
    return text
  }
}
