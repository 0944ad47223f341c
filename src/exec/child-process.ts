import type { ChildProcess } from 'node:child_process'
import { ExecaError } from 'execa'
import { failure } from '../core/errors.js'
import { KeptEnds } from '../core/kept-ends.js'
import { installLine, packageOf } from '../core/programs.js'

/** The grace period between SIGTERM and SIGKILL. */
const killAfterMs = 3_000

/** Returns `ENOENT`, `EACCES` … if the program could not be started. */
export function errorCodeOf(result: unknown): string | undefined {
  return result instanceof ExecaError ? result.code : undefined
}

/** Tells whether the program's output exceeded the limit. */
export function isTooLong(result: unknown): boolean {
  return result instanceof ExecaError && result.isMaxBuffer
}

/** Leaders of the process groups that are still running. */
const running = new Set<number>()

/**
 * Returns a function that ends a process in its own group: SIGTERM, then SIGKILL after a grace period. The terminal's
 * Ctrl-C does not reach such a group. If this process exits at once (a second Ctrl-C), it kills the groups too.
 */
export function endGroup(child: Pick<ChildProcess, 'pid' | 'once'>): () => void {
  const { pid } = child
  if (pid !== undefined) {
    if (running.size === 0) process.once('exit', killAll)
    running.add(pid)
    child.once('exit', () => {
      running.delete(pid)
      if (running.size === 0) process.off('exit', killAll)
    })
  }
  return () => {
    if (pid === undefined) return
    signalGroup(pid, 'SIGTERM')
    setTimeout(() => signalGroup(pid, 'SIGKILL'), killAfterMs).unref()
  }
}

function killAll(): void {
  for (const pid of running) signalGroup(pid, 'SIGKILL')
}

function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal)
  } catch {
    // The group has already ended.
  }
}

/** Splits a stream of text into lines; an unfinished last line is dropped. */
export function lines(onLine: (line: string) => void): (chunk: string) => void {
  let rest = ''
  return (chunk) => {
    const parts = (rest + chunk).split(/\r?\n/)
    rest = parts.pop() ?? ''
    for (const line of parts) onLine(line)
  }
}

export function missing(file: string, what: string): Error {
  const pkg = packageOf(file.split('/').at(-1) ?? file)
  return failure('NOT_INSTALLED', `cannot ${what}: the program '${file}' is not installed`, {
    hint: pkg === undefined ? `install '${file}', then try again` : installLine([pkg]),
  })
}

/** Reads the output of a program, and keeps its beginning and its end. */
export function keepEnds(stream: NodeJS.ReadableStream | null): KeptEnds {
  const kept = new KeptEnds()
  stream?.on('data', (chunk: string | Buffer) => {
    kept.push(typeof chunk === 'string' ? Buffer.from(chunk) : chunk)
  })
  return kept
}
