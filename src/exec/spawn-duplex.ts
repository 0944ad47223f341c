import { Duplex } from 'node:stream'
import { execa } from 'execa'
import type { LocalCommands } from '../core/context.js'
import { abortError, failure } from '../core/errors.js'
import { onAbort } from '../core/on-abort.js'
import { endGroup, errorCodeOf, lines, missing } from './child-process.js'

/**
 * Implements `LocalCommands.spawnDuplex`. The program has no terminal, so it cannot ask questions. The program needs no
 * mark of this process, because it ends when the pipe closes.
 */
export const spawnDuplex: LocalCommands['spawnDuplex'] = (argv, options) => {
  const [file, ...args] = argv
  if (file === undefined) throw failure('NO_COMMAND', 'the command to run is empty')
  if (options.signal.aborted) throw abortError(options.signal, options.what)
  const child = execa(file, args, {
    reject: false,
    detached: true,
    buffer: false,
    stdin: 'pipe',
    stdout: 'pipe',
    stderr: 'pipe',
    env: { LC_ALL: 'C.UTF-8', ...options.env },
  })
  const end = endGroup(child)
  // A program that did not start reports only the reason, which arrives a moment later.
  const started = child.pid !== undefined
  let ended = false
  const duplex = new Duplex({
    read: () => {
      child.stdout.resume()
    },
    write: (chunk, _encoding, done) => {
      if (started) child.stdin.write(chunk, done)
    },
    final: (done) => {
      if (started) child.stdin.end(done)
    },
    destroy: (error, done) => {
      stopListening()
      if (!ended) end()
      done(error)
    },
  })
  const cancel = () => duplex.destroy(abortError(options.signal, options.what))
  const stopListening = onAbort(options.signal, cancel)
  const broken = (error: Error) => {
    if (started) duplex.destroy(error)
  }
  child.stdin.on('error', broken)
  child.stdout.on('error', broken)
  child.stdout.on('data', (chunk) => {
    if (!duplex.push(chunk)) child.stdout.pause()
  })
  child.stdout.on('end', () => {
    if (started) duplex.push(null)
  })
  child.stderr.setEncoding('utf8').on('data', lines(options.onLine ?? (() => {})))
  void child.then((result) => {
    ended = true
    const code = errorCodeOf(result)
    if (code === 'ENOENT') duplex.destroy(missing(file, options.what))
    else if (!started) {
      duplex.destroy(
        failure('NOT_EXECUTABLE', `cannot ${options.what}: '${file}' cannot be executed (${code})`),
      )
    }
  })
  return duplex
}
