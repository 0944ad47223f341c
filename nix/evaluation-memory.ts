import { readFileSync } from 'node:fs'
import { freemem } from 'node:os'
import * as z from 'zod'

/** The memory for the first machine, of which no evaluation has told its need yet: a NixOS machine takes less. */
const unmeasured = 1024 ** 3

/** The part of the free memory that an evaluation may take; other programs may want the rest meanwhile. */
const share = 0.7

/** Returns the memory in bytes that programs can have now: free memory, and caches that the kernel gives back. */
export function availableMemory(meminfo = '/proc/meminfo'): number {
  const limit = process.constrainedMemory() ?? 0
  const known = limit > 0 && limit < Number.MAX_SAFE_INTEGER ? limit : Number.POSITIVE_INFINITY
  try {
    const kib = /^MemAvailable: +(\d+) kB$/m.exec(readFileSync(meminfo, 'utf8'))?.[1]
    return Math.min(known, kib === undefined ? freemem() : Number(kib) * 1024)
  } catch {
    // Only Linux has the file.
    return Math.min(known, freemem())
  }
}

/** Returns the number of NixOS machines that one evaluation may have. `measured` is the need of a machine in bytes. */
export function batchSize(available: number, measured: number | undefined): number {
  return Math.max(1, Math.floor((available * share) / Math.max(1, measured ?? unmeasured)))
}

const Statistics = z.object({ gc: z.object({ heapSize: z.number(), totalBytes: z.number() }) })

/** Environment that makes Nix report its memory at the end of stderr, not in a file: a plan writes no files. */
export const statistics = { NIX_SHOW_STATS: '1', NIX_SHOW_STATS_PATH: '-' }

/**
 * Reads the need in bytes from stderr: the heap begins large, and a small evaluation never fills it. A Nix without a
 * collector tells none.
 */
export function needIn(stderr: string): number | undefined {
  try {
    const { gc } = Statistics.parse(JSON.parse(stderr.slice(`\n${stderr}`.lastIndexOf('\n{'))))
    return Math.min(gc.heapSize, gc.totalBytes)
  } catch {
    return undefined
  }
}
