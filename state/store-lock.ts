import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Operator } from '../src/core/context.js'
import { locked } from '../src/core/errors.js'
import { fsFailure } from '../src/core/file-failure.js'
import { pause } from '../src/core/pause.js'
import type { Run } from '../src/core/run.js'
import { shellQuote } from '../src/core/shell-quote.js'
import { describeHolder, type Holder } from './holder.js'
import { type HeldLock, tryLock } from './lock.js'
import { deploymentsFolder } from './paths.js'
import { sweepStore } from './sweep.js'

/** Maximum wait for the lock. Another process needs well under a second to allocate ports and names. */
const usualWaits = { waitMs: 30_000 }
const pauseMs = 50

/** The short-lived lock of the whole state folder, which guards names and ports. */
export interface StoreLock {
  /**
   * Runs an action under the lock. Actions must not nest, because an action also waits for other actions of this
   * process.
   */
  during<T>(run: Run, action: () => Promise<T>): Promise<T>
}

export function createStoreLock(
  root: string,
  operator: Operator,
  now: () => Date,
  { waitMs } = usualWaits,
): StoreLock {
  const folder = join(root, 'lock')
  const attempt = async (): Promise<HeldLock | Holder | undefined> => {
    makeFolders(root)
    const tried = await tryLock(folder, operator, now())
    if (tried.kind === 'busy') return tried.holder
    sweepStore(root, deploymentsFolder(root))
    return tried.lock
  }
  const holding = (taken: HeldLock | Holder | undefined): taken is HeldLock =>
    taken !== undefined && 'release' in taken
  const take = async (run: Run): Promise<HeldLock> => {
    const deadline = Date.now() + waitMs
    let taken = await attempt()
    if (!holding(taken)) run.log(`waiting for the state folder, in use by ${nameOf(taken)}`)
    while (!holding(taken)) {
      if (Date.now() > deadline) throw stillBusy(root, taken, waitMs)
      await pause(pauseMs, run.signal)
      taken = await attempt()
    }
    return taken
  }
  return {
    async during(run, action) {
      const lock = await take(run)
      try {
        return await action()
      } finally {
        await lock.release()
      }
    },
  }
}

function makeFolders(root: string): void {
  try {
    mkdirSync(deploymentsFolder(root), { recursive: true, mode: 0o700 })
  } catch (error) {
    throw fsFailure(error, 'create the state folder', root)
  }
}

function nameOf(holder: Holder | undefined): string {
  return holder === undefined ? 'an unknown process' : describeHolder(holder)
}

function stillBusy(root: string, holder: Holder | undefined, waited: number): Error {
  return locked(`the state folder ${root} was in use for ${waited / 1000} s by ${nameOf(holder)}`, {
    hint: `end that command, then try again; if the command no longer runs: rm -r ${shellQuote(join(root, 'lock'))}`,
  })
}
