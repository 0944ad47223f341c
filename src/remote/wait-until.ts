import { failure, messageOf, throwIfAborted } from '../core/errors.js'
import { pause } from '../core/pause.js'
import type { Run } from '../core/run.js'

/**
 * Asks again and again until nothing is wrong any more. When the time is over, or when there is no hope, the last thing
 * seen is the error.
 */
export async function waitUntil(
  machine: string,
  run: Run,
  options: {
    /** `Hydra's web server answers`. */
    readonly what: string
    readonly deadlineMs: number
    readonly pauseMs?: number
    readonly hint?: string
    /** Of the error that both ends of the wait are; DEADLINE and LASTING_CAUSE by default. */
    readonly code?: string
    /** What the machine says of it, for the error. */
    evidence?(): Promise<string>
    /** Undefined = it holds; else what is seen instead. */
    wrong(): Promise<string | undefined>
    /** Undefined = it may hold yet; else the reason why a longer wait is in vain. */
    hopeless?(): Promise<string | undefined>
  },
): Promise<void> {
  const begin = performance.now()
  const end = begin + options.deadlineMs
  let last = ''
  let lost: string | undefined
  do {
    const seen = await options.wrong().catch((error: unknown) => {
      throwIfAborted(run.signal)
      return messageOf(error)
    })
    if (seen === undefined) return
    if (seen !== last) run.log(`waiting until ${options.what}: ${seen}`)
    last = seen
    lost = await options.hopeless?.().catch(() => {
      throwIfAborted(run.signal)
      return undefined
    })
    if (lost !== undefined) break
    await pause(options.pauseMs ?? 2_000, run.signal)
  } while (performance.now() < end)
  const detail = await options.evidence?.().catch((error: unknown) => {
    throwIfAborted(run.signal)
    return messageOf(error)
  })
  const seconds = Math.round((lost === undefined ? options.deadlineMs : performance.now() - begin) / 1_000)
  const reason = lost === undefined || last.includes(lost) ? last : `${last}; ${lost}`
  const code = options.code ?? (lost === undefined ? 'DEADLINE' : 'LASTING_CAUSE')
  throw failure(code, `machine '${machine}': waited ${seconds} s until ${options.what}: ${reason}`, {
    machine,
    ...(options.hint === undefined ? {} : { hint: options.hint }),
    ...(detail === undefined || detail === '' ? {} : { detail }),
  })
}
