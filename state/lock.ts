import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { mkdir, open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Operator } from '../src/core/context.js'
import { temporary } from '../src/core/durable-file.js'
import { errnoOf, fsFailure } from '../src/core/file-failure.js'
import { claimOf, Holder, isDead } from './holder.js'

/** A lock that this process holds. */
export interface HeldLock {
  /** Returns false after another process removed the lock (`hydra-ops unlock`) or took over the lock. */
  isOurs(): boolean
  release(): Promise<void>
}

export type LockAttempt =
  | { readonly kind: 'held'; readonly lock: HeldLock }
  /** A lock that is in use; `holder` is `undefined` if the lock does not name its owner. */
  | { readonly kind: 'busy'; readonly holder: Holder | undefined }

/** Maximum number of attempts; only a bug could lose so many races. */
const rounds = 100

/**
 * Takes a lock or names its holder, and never waits for a living holder. `beforeTakeOver` may delay or refuse the
 * removal of a dead holder's lock. The lock still names the dead holder meanwhile. The next process therefore also
 * calls `beforeTakeOver` if this process ends early.
 *
 * A lock is a folder that holds `holder.json`. The folder is made under another name and renamed into place, which
 * fails while a lock exists. An incomplete lock is therefore never visible, and only one of several processes gets the
 * lock.
 */
export async function tryLock(
  folder: string,
  operator: Operator,
  now: Date,
  beforeTakeOver: (dead: Holder) => Promise<void> = async () => {},
): Promise<LockAttempt> {
  for (let round = 0; round < rounds; round += 1) {
    const found = readHolder(folder)
    if (found.kind === 'unreadable') return { kind: 'busy', holder: undefined }
    if (found.kind === 'holder') {
      if (!isDead(found.holder, operator, now)) return { kind: 'busy', holder: found.holder }
      await beforeTakeOver(found.holder)
      const busy = await retireDead(folder, found.holder, operator, now)
      if (busy !== undefined) return busy
    }
    const claim = claimOf(operator, randomBytes(8).toString('hex'), now)
    if (await place(folder, claim)) return { kind: 'held', lock: heldLock(folder, claim) }
  }
  return { kind: 'busy', holder: undefined }
}

/** Removes a lock of any holder. */
export async function removeLock(folder: string): Promise<Holder | 'unknown' | undefined> {
  const found = readHolder(folder)
  if (found.kind === 'free') return undefined
  await discard(folder)
  return found.kind === 'holder' ? found.holder : 'unknown'
}

/**
 * Removes a dead holder's lock. Two processes with the same dead holder must not remove each other's new lock. The
 * removal therefore takes a separate lock, named after the dead claim, and checks that the claim still exists.
 */
async function retireDead(
  folder: string,
  dead: Holder,
  operator: Operator,
  now: Date,
): Promise<LockAttempt | undefined> {
  const guard = await tryLock(`${folder}.dead-${dead.nonce}`, operator, now)
  if (guard.kind === 'busy') return guard
  try {
    const found = readHolder(folder)
    if (found.kind === 'holder' && found.holder.nonce === dead.nonce) await discard(folder)
    return undefined
  } finally {
    await guard.lock.release()
  }
}

function heldLock(folder: string, claim: Holder): HeldLock {
  const isOurs = () => {
    const found = readHolder(folder)
    return found.kind === 'holder' && found.holder.nonce === claim.nonce
  }
  return {
    isOurs,
    release: async () => {
      try {
        if (isOurs()) await discard(folder)
      } catch {
        // A failed release must not hide the result. A later process takes over the lock when this process has ended.
      }
    },
  }
}

/** Places a lock; returns false when a lock already exists. */
async function place(folder: string, claim: Holder): Promise<boolean> {
  const draft = temporary(folder)
  try {
    await mkdir(draft, { mode: 0o700 })
    const holder = await open(join(draft, 'holder.json'), 'wx', 0o600)
    try {
      await holder.writeFile(JSON.stringify(claim))
      await holder.sync()
    } finally {
      await holder.close()
    }
    await rename(draft, folder)
    return true
  } catch (error) {
    await rm(draft, { recursive: true, force: true })
    if (['ENOTEMPTY', 'EEXIST'].includes(errnoOf(error) ?? '')) return false
    throw fsFailure(error, 'create the lock', folder, '; nothing was changed')
  }
}

/** Renames a lock before its removal. A folder cannot be removed in one step, and half a lock must not be visible. */
async function discard(folder: string): Promise<void> {
  const doomed = temporary(folder)
  try {
    await rename(folder, doomed)
    await rm(doomed, { recursive: true, force: true })
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw fsFailure(error, 'remove the lock', folder)
  }
}

type Found = { kind: 'free' } | { kind: 'holder'; holder: Holder } | { kind: 'unreadable' }

function readHolder(folder: string): Found {
  try {
    const holder = Holder.safeParse(JSON.parse(readFileSync(join(folder, 'holder.json'), 'utf8')))
    return holder.success ? { kind: 'holder', holder: holder.data } : { kind: 'unreadable' }
  } catch (error) {
    // An empty folder is not a lock, because a rename onto an empty folder succeeds.
    return errnoOf(error) === 'ENOENT' ? { kind: 'free' } : { kind: 'unreadable' }
  }
}
