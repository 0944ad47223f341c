import { requireSuccess } from '../core/command-result.js'
import { failure, messageOf, throwIfAborted } from '../core/errors.js'
import type { Run } from '../core/run.js'
import type { CommandResult, Host } from '../core/ssh.js'
import { askMachine, fact } from '../remote/run-script.js'

const requestMs = 60_000

/** Reads the machine's own clock, which its journal uses; returns seconds. */
export async function machineTime(host: Host, run: Run): Promise<string> {
  const question = { what: 'ask the time', script: 'clock' }
  const now = fact(await askMachine(host, question, run), 'now')
  if (/^\d+$/.test(now)) return now
  throw failure(
    'MACHINE_CLOCK',
    `machine '${host.machine}': the clock cannot be read, because date printed no number`,
    {
      machine: host.machine,
      hint: 'date +%s on the machine must write the seconds since 1970',
    },
  )
}

/** Reads lines of units from a position in the journal, such as `--since=@0`. Throws if the journal cannot be read. */
export async function readJournal(
  host: Host,
  { units, from, lines }: { units: readonly string[]; from: readonly string[]; lines: number },
  run: Run,
): Promise<string> {
  const what = 'read the journal'
  const argv = ['journalctl', '--quiet', '--no-pager', '--output=cat', `--lines=${lines}`, ...from]
  const result = await host.exec([...argv, ...units.map((name) => `--unit=${name}`)], {
    signal: run.signal,
    timeoutMs: requestMs,
    what,
  })
  if (from.includes('--show-cursor') && isSilentFailure(result)) return ''
  return requireSuccess(result, { machine: host.machine, what }).stdout
}

/** Recognises a journal without new lines: with --show-cursor, journalctl 252 then ends with 1 in silence (measured). */
function isSilentFailure(result: CommandResult): boolean {
  return result.kind === 'exited' && result.code === 1 && `${result.stdout}${result.stderr}`.trim() === ''
}

/** Reads the newest lines since a time on the machine's own clock, because earlier faults may have been repaired. */
export async function journalSince(
  host: Host,
  units: readonly string[],
  since: string,
  run: Run,
): Promise<string> {
  return readJournal(host, { units, from: [`--since=@${since}`], lines: 300 }, run)
}

/**
 * Reads the last few lines since a time, as evidence for an error. Returns the reason if the journal cannot be read.
 */
export async function newestLines(
  host: Host,
  units: readonly string[],
  since: string,
  run: Run,
): Promise<string> {
  return readJournal(host, { units, from: [`--since=@${since}`], lines: 20 }, run).then(
    (text) => text.trim(),
    (error: unknown) => unreadable(error, run),
  )
}

/** Explains why the journal cannot be read, for the log or as evidence. Rethrows an interruption. */
export function unreadable(error: unknown, run: Run): string {
  throwIfAborted(run.signal)
  return `the journal cannot be read: ${messageOf(error)}`
}
