import { execa } from 'execa'
import type { LocalCommands } from '../core/context.js'
import { abortError, failure } from '../core/errors.js'
import { onAbort } from '../core/on-abort.js'
import { startedByUs } from '../core/started-programs.js'
import { endGroup, errorCodeOf, keepEnds, missing } from './child-process.js'

/** Implements `LocalCommands.spawnReadable`. */
export const spawnReadable: LocalCommands['spawnReadable'] = (argv, options) => {
  const [file, ...args] = argv
  if (file === undefined) throw failure('NO_COMMAND', 'the command to run is empty')
  if (options.signal.aborted) throw abortError(options.signal, options.what)
  const child = execa(file, args, {
    reject: false,
    detached: true,
    buffer: false,
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
    env: { LC_ALL: 'C.UTF-8', ...options.env, ...startedByUs(argv) },
  })
  const said = keepEnds(child.stderr)
  const end = endGroup(child)
  const stopListening = onAbort(options.signal, end)
  // A reader that stops early does not need the rest. A program whose output ended is about to exit.
  child.stdout.once('close', () => {
    if (!child.stdout.readableEnded) end()
  })
  const done = child
    .then((result) => {
      if (options.signal.aborted) throw abortError(options.signal, options.what)
      const stderr = said.text().replace(/\n$/, '')
      if (result.exitCode !== undefined)
        return { kind: 'exited', code: result.exitCode, stdout: '', stderr } as const
      if (result.signal !== undefined)
        return { kind: 'killed', signal: result.signal, stdout: '', stderr } as const
      if (errorCodeOf(result) === 'ENOENT') throw missing(file, options.what)
      throw failure(
        'NOT_EXECUTABLE',
        `cannot ${options.what}: '${file}' cannot be executed (${errorCodeOf(result)})`,
      )
    })
    .finally(stopListening)
  // A caller that failed elsewhere may never await `done`.
  done.catch(() => {})
  return { stdout: child.stdout, done }
}
