import { readFileSync, readlinkSync } from 'node:fs'
import * as z from 'zod'
import type { Operator } from '../src/core/context.js'
import { errnoOf } from '../src/core/file-failure.js'

/** Who holds a lock, with what it takes to find out whether that process still lives. */
export const Holder = z.object({
  /** Of this one claim: tells a lock from the next one of the same process. */
  nonce: z.string(),
  user: z.string(),
  host: z.string(),
  pid: z.int().positive(),
  /** Clock ticks since boot (field 22 of /proc/PID/stat): the same pid with another start is another process. */
  startTime: z.string(),
  bootId: z.string(),
  /** Containers share a boot id, but not their pids. */
  pidNamespace: z.string(),
  command: z.string(),
  run: z.string(),
  since: z.string(),
})
export type Holder = z.infer<typeof Holder>

/** Of a holder on another host nothing is known but its age: longer than any deploy takes. */
const foreignHolderHours = 24

export function claimOf(operator: Operator, nonce: string, now: Date): Holder {
  return {
    nonce,
    user: operator.user,
    host: operator.host,
    pid: process.pid,
    startTime: startTimeOf(process.pid)?.ticks ?? '',
    bootId: bootId(),
    pidNamespace: pidNamespace(),
    command: operator.command,
    run: operator.run,
    since: now.toISOString(),
  }
}

/** True only when the holder is gone for certain, or has been away on another host for a day. */
export function isDead(holder: Holder, here: Pick<Holder, 'host'>, now: Date): boolean {
  if (holder.bootId === bootId() && holder.pidNamespace === pidNamespace()) return !processLives(holder)
  if (holder.host === here.host && holder.bootId !== bootId()) return true
  return now.getTime() - Date.parse(holder.since) > foreignHolderHours * 3_600_000
}

/** `alice@build1, pid 4711, since 2026-11-21 10:15:00 UTC: hydra-ops deploy -d lab` */
export function describeHolder(holder: Holder): string {
  const since = holder.since.replace('T', ' ').replace(/\.\d+Z$/, ' UTC')
  return `${holder.user}@${holder.host}, pid ${holder.pid}, since ${since}: ${holder.command}`
}

function processLives(holder: Holder): boolean {
  try {
    process.kill(holder.pid, 0)
  } catch (error) {
    // EPERM: it is there and somebody else's.
    if (errnoOf(error) === 'ESRCH') return false
  }
  const found = startTimeOf(holder.pid)
  // With /proc mounted hidepid the pid of another user is alive, and cannot be looked at.
  if (found === undefined) return true
  return found.ticks === holder.startTime && !['Z', 'X'].includes(found.state)
}

/** man 5 proc: the fields after the command name, which itself may hold spaces and brackets. */
function startTimeOf(pid: number): { state: string; ticks: string } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return { state: fields[0] ?? '', ticks: fields[19] ?? '' }
  } catch {
    return undefined
  }
}

let knownBootId: string | undefined
function bootId(): string {
  knownBootId ??= readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  return knownBootId
}

function pidNamespace(): string {
  return readlinkSync('/proc/self/ns/pid')
}
