import { failure, messageOf, throwIfInterrupted } from '../core/errors.js'
import { pause } from '../core/pause.js'
import type { Run } from '../core/run.js'

/** Asks again and again until nothing is wrong any more; when the time is over, what was seen last is the error. */
export async function waitUntil(
  machine: string,
  run: Run,
  wish: {
    /** `Hydra's web server answers`. */
    readonly what: string
    readonly deadlineMs: number
    readonly pauseMs?: number
    readonly hint?: string
    /** What the machine says of it, for the error. */
    evidence?(): Promise<string>
    /** Undefined = it holds; else what is seen instead. */
    wrong(): Promise<string | undefined>
  },
): Promise<void> {
  const end = performance.now() + wish.deadlineMs
  let last = ''
  do {
    const seen = await wish.wrong().catch((error: unknown) => {
      throwIfInterrupted(run.signal)
      return messageOf(error)
    })
    if (seen === undefined) return
    if (seen !== last) run.log(`waiting until ${wish.what}: ${seen}`)
    last = seen
    await pause(wish.pauseMs ?? 2_000, run.signal)
  } while (performance.now() < end)
  const detail = await wish.evidence?.().catch(() => '')
  const seconds = Math.round(wish.deadlineMs / 1_000)
  throw failure('DEADLINE', `machine '${machine}': waited ${seconds} s until ${wish.what}: ${last}`, {
    machine,
    ...(wish.hint === undefined ? {} : { hint: wish.hint }),
    ...(detail === undefined || detail === '' ? {} : { detail }),
  })
}
