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

/**
 * Looks at the journal while a build is waited for. One failure may be over at the next try, so that a cause is told
 * once it was seen again later. A queue runner tries again after a minute, an evaluator after half of one (measured).
 * Nothing is told of other builds, nor while the step of this one runs: it may still turn green.
 */
export class JournalWatch {
  private readonly firstSeen = new Map<string, number>()
  private readonly host: Host
  private readonly build: ReadFor
  private readonly pace: WatchPace
  private stepRuns = false
  private place: string
  private nextLook: number

  constructor(host: Host, build: ReadFor, since: string, pace: WatchPace) {
    this.host = host
    this.build = build
    this.pace = pace
    this.place = `--since=@${since}`
    this.nextLook = performance.now() + pace.everyMs
  }

  /** Finds the cause that came again, when it is time for a look. */
  async lastingCause(run: Run): Promise<string | undefined> {
    const now = performance.now()
    if (now < this.nextLook) return undefined
    this.nextLook = now + this.pace.everyMs
    const lines = await this.newLines(run)
    this.stepRuns = runsAfter(lines, this.build) ?? this.stepRuns
    const cause = causeOfWait(linesFor(lines, this.build))
    if (cause === undefined) return undefined
    const first = this.firstSeen.get(cause)
    if (first === undefined) this.firstSeen.set(cause, now)
    if (this.stepRuns || first === undefined) return undefined
    return now - first >= this.pace.apartMs ? cause : undefined
  }

  private async newLines(run: Run): Promise<string> {
    const text = await read(this.host, witnesses, ['--show-cursor', this.place], run)
    const cursor = /^-- cursor: (.+)$/m.exec(text)?.[1]
    if (cursor !== undefined) this.place = `--after-cursor=${cursor}`
    return text
  }
}
