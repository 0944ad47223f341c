import { readFileSync } from 'node:fs'
import { freemem } from 'node:os'
import * as z from 'zod'

/** Memory that is planned for a NixOS machine before the first measurement; a machine takes less. */
const unmeasured = 1024 ** 3

/** Share of the free memory that an evaluation may use; other programs may need the rest. */
const share = 0.7

/** Returns the memory in bytes that is available now: free memory, and caches that the kernel can release. */
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

/** Returns the number of NixOS machines for one evaluation. `measured` is the memory for one machine in bytes. */
export function batchSize(available: number, measured: number | undefined): number {
  return Math.max(1, Math.floor((available * share) / Math.max(1, measured ?? unmeasured)))
}

const Statistics = z.object({ gc: z.object({ heapSize: z.number(), totalBytes: z.number() }) })

/** Environment that makes Nix report its memory at the end of stderr, not in a file: a plan writes no files. */
export const statistics = { NIX_SHOW_STATS: '1', NIX_SHOW_STATS_PATH: '-' }

/**
 * Reads the memory use in bytes from stderr. The heap begins large, so the allocated bytes count if they
 * are fewer. Returns undefined for a Nix without a garbage collector.
 */
export function needIn(stderr: string): number | undefined {
  try {
    const { gc } = Statistics.parse(JSON.parse(stderr.slice(`\n${stderr}`.lastIndexOf('\n{'))))
    return Math.min(gc.heapSize, gc.totalBytes)
  } catch {
    return undefined
  }
}
