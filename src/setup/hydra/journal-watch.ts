import type { Run } from '../../core/run.js'
import type { Host } from '../../core/ssh.js'
import { readJournal, unreadable } from '../journal.js'
import { causeIn } from './diagnosis.js'
import { linesFor, type ReadFor, runsAfter } from './journal-lines.js'

/** Services whose journals explain why a build does not turn green. */
export const witnesses = ['hydra-evaluator', 'hydra-queue-runner', 'hydra-builder', 'hydra-server']

/** Interval between looks at the journal, and the minimum time between two looks that count as two failures. */
export interface WatchPace {
  readonly everyMs: number
  readonly apartMs: number
}

/** Services to watch, and the awaited build if there is one. */
export interface Watched {
  readonly units: readonly string[]
  readonly build?: ReadFor
}

/** Sign of a database that will come up by itself, however long it takes. */
const passing = /the database system is (?:starting up|shutting down|in recovery mode)/

/**
 * A reader of the journal during the wait for Hydra or for a build. One failure may be over at the next attempt, so a
 * cause is reported only if it occurs again later. A queue runner tries again after a minute, an evaluator after half a
 * minute (measured). Other builds do not count. No cause is reported while this build's step runs, because the build
 * may still turn green.
 */
export class JournalWatch {
  private readonly firstSeen = new Map<string, number>()
  private readonly host: Host
  private readonly watched: Watched
  private readonly pace: WatchPace
  private stepRuns = false
  private seen: string | undefined
  private wasUnreadable = false
  private place: string
  private nextLook: number

  constructor(host: Host, watched: Watched, since: string, pace: WatchPace) {
    this.host = host
    this.watched = watched
    this.pace = pace
    this.place = `--since=@${since}`
    this.nextLook = performance.now() + pace.everyMs
  }

  /** Returns the most recent cause, even if the cause occurred only once. */
  get lastCause(): string | undefined {
    return this.seen
  }

  /** Returns a cause that occurred again, if a look is due. An unreadable journal yields no cause. */
  async lastingCause(run: Run): Promise<string | undefined> {
    const now = performance.now()
    if (now < this.nextLook) return undefined
    this.nextLook = now + this.pace.everyMs
    const { build } = this.watched
    const text = await this.newLines(run)
    if (build !== undefined) this.stepRuns = runsAfter(text, build) ?? this.stepRuns
    const lines = linesFor(text, build).split('\n')
    const cause = causeIn(lines.filter((line) => !passing.test(line)).join('\n'), { ofBuild: true })
    if (cause === undefined) return undefined
    this.seen = cause
    const first = this.firstSeen.get(cause)
    if (first === undefined) this.firstSeen.set(cause, now)
    if (this.stepRuns || first === undefined) return undefined
    return now - first >= this.pace.apartMs ? cause : undefined
  }

  private async newLines(run: Run): Promise<string> {
    const from = ['--show-cursor', this.place]
    try {
      const text = await readJournal(this.host, { units: this.watched.units, from, lines: 300 }, run)
      const cursor = /^-- cursor: (.+)$/m.exec(text)?.[1]
      if (cursor !== undefined) this.place = `--after-cursor=${cursor}`
      return text
    } catch (error) {
      const why = unreadable(error, run)
      if (!this.wasUnreadable) run.log(why)
      this.wasUnreadable = true
      return ''
    }
  }
}
