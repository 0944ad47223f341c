import { readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'

/** Facts about a process from /proc/PID/stat (man 5 proc). */
export interface ProcessStat {
  /** A single letter; `Z` and `X` mean that the process has ended. */
  readonly state: string
  /** The session id, which is the pid of the session's leader. */
  readonly session: number
  /**
   * Start time in clock ticks since boot. A process with the same pid and another start time is a different process.
   */
  readonly startTime: string
}

/** Reads the facts about a process. The fields follow the command name, which may contain spaces and parentheses. */
export function processStat(pid: number, proc = '/proc'): ProcessStat | undefined {
  try {
    const stat = readFileSync(join(proc, String(pid), 'stat'), 'utf8')
    const [state = '', , , session = '', ...more] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return { state, session: Number(session), startTime: more[15] ?? '' }
  } catch {
    return undefined
  }
}

/** Tells whether the process is running, and started at the given time. */
export function runsSince(startTime: string, found: ProcessStat | undefined): boolean {
  return found !== undefined && found.startTime === startTime && !['Z', 'X'].includes(found.state)
}

/** Returns the pid namespace of this process. Containers share the boot id, but not their pids. */
export function pidNamespace(): string {
  return readlinkSync('/proc/self/ns/pid')
}
