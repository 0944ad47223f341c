import { readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'

/** Facts of /proc/PID/stat (man 5 proc). */
export interface ProcessStat {
  /** One letter; `Z` and `X` mean that the process has ended. */
  readonly state: string
  /** The session; its leader is the process with this pid. */
  readonly session: number
  /** Clock ticks since boot: the same pid with another start is another process. */
  readonly startTime: string
}

/** Reads the facts of a process; the fields follow the command name, which may hold spaces and brackets. */
export function processStat(pid: number, proc = '/proc'): ProcessStat | undefined {
  try {
    const stat = readFileSync(join(proc, String(pid), 'stat'), 'utf8')
    const [state = '', , , session = '', ...more] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return { state, session: Number(session), startTime: more[15] ?? '' }
  } catch {
    return undefined
  }
}

/** Tells whether the process runs, and is the one that began at that time. */
export function runsSince(startTime: string, found: ProcessStat | undefined): boolean {
  return found !== undefined && found.startTime === startTime && !['Z', 'X'].includes(found.state)
}

/** Returns the namespace of this process's pids; containers share a boot id, but not their pids. */
export function pidNamespace(): string {
  return readlinkSync('/proc/self/ns/pid')
}
