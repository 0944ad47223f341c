import { ExecaError } from 'execa'
import { failure, interrupted } from '../core/errors.js'
import { installLine, packageOf } from '../core/programs.js'

/** Grace between SIGTERM and SIGKILL. */
const killAfterMs = 3_000

/** `ENOENT`, `EACCES` … when the program could not be started at all. */
export function errorCodeOf(result: unknown): string | undefined {
  return result instanceof ExecaError ? result.code : undefined
}

/** Ends a process and its children: SIGTERM, then after a grace SIGKILL. */
export function endGroup(pid: number | undefined): () => void {
  return () => {
    if (pid === undefined) return
    signalGroup(pid, 'SIGTERM')
    setTimeout(() => signalGroup(pid, 'SIGKILL'), killAfterMs).unref()
  }
}

function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal)
  } catch {
    // The group is gone already.
  }
}

/** Cuts a stream of text into lines; an unfinished last line is not handed out. */
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
  return failure('NOT_INSTALLED', `${what}: the program '${file}' is not installed`, {
    hint: pkg === undefined ? `install '${file}', then try again` : installLine([pkg]),
  })
}

export function interruptedDuring(what: string): Error {
  return interrupted(`interrupted: ${what}`)
}
