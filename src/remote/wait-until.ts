import { failure, messageOf, throwIfAborted } from '../core/errors.js'
import { pause } from '../core/pause.js'
import type { Run } from '../core/run.js'

/**
 * Repeats a check until it succeeds. The error names the last fault seen, when time runs out or waiting is hopeless.
 */
export async function waitUntil(
  machine: string,
  run: Run,
  options: {
    /** Awaited state: `Hydra's web server answers`. */
    readonly what: string
    readonly deadlineMs: number
    readonly pauseMs?: number
    readonly hint?: string
    /** Code of the error; by default DEADLINE when time runs out, LASTING_CAUSE when waiting is hopeless. */
    readonly code?: string
    /** Returns the machine's own evidence for the error. */
    evidence?(): Promise<string>
    /** Checks once; `undefined` means success, and a text describes the fault. */
    wrong(): Promise<string | undefined>
    /** Returns the reason why waiting longer is pointless; `undefined` means that the check may still succeed. */
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
