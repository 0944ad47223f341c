import { readFileSync } from 'node:fs'
import * as z from 'zod'
import type { Operator } from '../src/core/context.js'
import { errnoOf } from '../src/core/file-failure.js'
import { pidNamespace, processStat, runsSince } from '../src/core/process-facts.js'

/** The holder of a lock, with the facts that show whether its process is alive. */
export const Holder = z.object({
  /** The identity of this one claim, apart from the next claim of the same process. */
  nonce: z.string(),
  user: z.string(),
  host: z.string(),
  pid: z.int().positive(),
  /**
   * Clock ticks since boot (field 22 of /proc/PID/stat): the same pid with a different start time is a different
   * process.
   */
  startTime: z.string(),
  bootId: z.string(),
  /** Namespace of the pid, because containers share a boot id but not their pids. */
  pidNamespace: z.string(),
  command: z.string(),
  run: z.string(),
  since: z.string(),
})
export type Holder = z.infer<typeof Holder>

/**
 * The age after which a holder on another host counts as dead, longer than any deploy. No other fact about such a
 * holder is known.
 */
const foreignHolderHours = 24

export function claimOf(operator: Operator, nonce: string, now: Date): Holder {
  return {
    nonce,
    user: operator.user,
    host: operator.host,
    pid: process.pid,
    startTime: processStat(process.pid)?.startTime ?? '',
    bootId: bootId(),
    pidNamespace: pidNamespace(),
    command: operator.command,
    run: operator.run,
    since: now.toISOString(),
  }
}

/** Tells whether the holder is certainly dead, or has held the lock on another host for a day. */
export function isDead(holder: Holder, here: Pick<Holder, 'host'>, now: Date): boolean {
  if (holder.bootId === bootId() && holder.pidNamespace === pidNamespace()) return !processLives(holder)
  if (holder.host === here.host && holder.bootId !== bootId()) return true
  return now.getTime() - Date.parse(holder.since) > foreignHolderHours * 3_600_000
}

/** Describes a holder: `alice@build1, pid 4711, since 2026-11-21 10:15:00 UTC: hydra-ops deploy -d lab` */
export function describeHolder(holder: Holder): string {
  const since = holder.since.replace('T', ' ').replace(/\.\d+Z$/, ' UTC')
  return `${holder.user}@${holder.host}, pid ${holder.pid}, since ${since}: ${holder.command}`
}

function processLives(holder: Holder): boolean {
  try {
    process.kill(holder.pid, 0)
  } catch (error) {
    // EPERM means that the process lives and belongs to another user.
    if (errnoOf(error) === 'ESRCH') return false
  }
  const found = processStat(holder.pid)
  // A /proc that is mounted with hidepid shows no process of another user, even if the process is alive.
  return found === undefined || runsSince(holder.startTime, found)
}

let knownBootId: string | undefined
function bootId(): string {
  knownBootId ??= readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  return knownBootId
}
