import { StringDecoder } from 'node:string_decoder'
import type { ClientChannel } from 'ssh2'
import { failure, messageOf } from '../core/errors.js'
import { KeptEnds } from '../core/kept-ends.js'
import type { CommandResult, RemoteOptions } from '../core/ssh.js'
import type { Nonce } from './command-line.js'
import { FrameParser } from './framing.js'
import type { Launch } from './sudo.js'

/**
 * The maximum size of stdout, above the size of any store's path list. Only the beginning and the end of stderr are
 * kept.
 */
const maxOutput = 256 * 1024 * 1024
/**
 * The time that a channel may stay open after the closing marks. A daemon that the command left behind may hold the
 * channel.
 */
const lingerMs = 300

/** The facts in the opening mark: the sh around the command, the process group of both, and the way to root. */
export interface Begun {
  readonly pid: string
  readonly group: string
  readonly way: string
}

export type Outcome =
  | CommandResult
  /** The opening mark never came: the login shell, or sudo after a login shell that works, ended earlier. */
  | {
      readonly kind: 'not begun'
      readonly code: number | undefined
      readonly said: string
      readonly shellWorks: boolean
    }

type CommandIo = Pick<RemoteOptions, 'stdin' | 'onLine' | 'what'>

/** One command on one channel, with its stdin, the output inside the frame, and its end. */
export class FramedCommand {
  /** The facts in the opening mark; undefined when the command ended before the mark. */
  readonly begun: Promise<Begun | undefined>
  /** The outcome; rejects when the input or output breaks, although the command may still be running. */
  readonly ended: Promise<Outcome>
  /** The close of the channel, after which the server no longer counts the session. */
  readonly closed: Promise<void>
  readonly #channel: ClientChannel
  readonly #launch: Launch
  readonly #io: CommandIo
  readonly #stdout: FramedStream
  readonly #stderr: FramedStream
  #exit: { code: number | null | undefined; signal: string | undefined } | undefined
  #fed = false
  #done = false
  #begin: (begun: Begun | undefined) => void = () => {}
  #finish: (outcome: Outcome) => void = () => {}
  #fail: (error: Error) => void = () => {}

  constructor(channel: ClientChannel, nonce: Nonce, launch: Launch, io: CommandIo) {
    this.#channel = channel
    this.#launch = launch
    this.#io = io
    const { onLine } = io
    this.#stdout = new FramedStream(nonce, onLine && ((line) => onLine(line, 'stdout')))
    this.#stderr = new FramedStream(nonce, onLine && ((line) => onLine(line, 'stderr')), new KeptEnds())
    this.begun = new Promise((resolve) => {
      this.#begin = resolve
    })
    this.ended = new Promise((resolve, reject) => {
      this.#finish = resolve
      this.#fail = reject
    })
    // A caller that gave up waiting has already reported the reason.
    this.ended.catch(() => {})
    this.closed = new Promise((resolve) => channel.once('close', () => resolve()))
    this.#listen()
    this.#writeFirst()
  }

  /** Whether the login shell wrote to stdout outside the frame. */
  get noisy(): boolean {
    return this.#stdout.parser.noiseBytes > 0
  }

  get stderrTail(): string {
    return this.#stderr.text().split('\n').slice(-20).join('\n').trim()
  }

  close(): void {
    this.#stopFeeding()
    this.#channel.close()
  }

  #listen(): void {
    const channel = this.#channel
    channel.on('data', (chunk: Buffer) => this.#received(this.#stdout, chunk))
    channel.stderr.on('data', (chunk: Buffer) => this.#received(this.#stderr, chunk))
    channel.on('exit', (code: number | null, signal?: string) => {
      this.#exit = { code, signal }
    })
    channel.on('error', (error: Error) => this.#fail(error))
    channel.once('close', () => this.#closed())
  }

  #received(stream: FramedStream, chunk: Buffer): void {
    if (this.#done) return
    stream.push(chunk)
    if (stream === this.#stdout && stream.bytes > maxOutput) {
      this.#fail(
        failure('OUTPUT_TOO_LARGE', `cannot ${this.#io.what}: the command printed more than 256 MiB`),
      )
      return
    }
    const { info } = this.#stdout.parser
    if (info !== undefined && !this.#fed) {
      this.#fed = true
      const [pid = '', group = '', way = ''] = info.split(' ')
      this.#begin({ pid, group, way })
      this.#feed()
    }
    if (this.#stdout.parser.status !== undefined && this.#stderr.parser.status !== undefined) this.#conclude()
  }

  /**
   * Writes the launch's text without the command's own input. A login shell or sudo could swallow input before the
   * opening mark.
   */
  #writeFirst(): void {
    const { atOnce, afterMark } = this.#launch
    const { stdin } = this.#io
    if (typeof stdin === 'object' && 'on' in stdin) {
      stdin.on('error', (error) => this.#inputFailed(error))
    }
    if (stdin === undefined) this.#channel.end(atOnce + afterMark)
    else if (atOnce !== '') this.#channel.write(atOnce)
  }

  #feed(): void {
    const { stdin } = this.#io
    if (stdin === undefined) return
    if (this.#launch.afterMark !== '') this.#channel.write(this.#launch.afterMark)
    if (typeof stdin === 'object' && 'on' in stdin) stdin.pipe(this.#channel)
    else this.#channel.end(stdin)
  }

  /** Fails the command, because a broken source must not look like the end of the input. */
  #inputFailed(error: unknown): void {
    this.#fail(
      failure(
        'INPUT',
        `cannot ${this.#io.what}: the input of the command could not be read (${messageOf(error)})`,
        {
          cause: error,
        },
      ),
    )
  }

  #stopFeeding(): void {
    const { stdin } = this.#io
    if (typeof stdin !== 'object' || !('on' in stdin)) return
    stdin.unpipe(this.#channel)
    if ('destroy' in stdin && typeof stdin.destroy === 'function') stdin.destroy()
  }

  #conclude(): void {
    this.#done = true
    // The input of a command that did not begin stays open, because a second try needs the same input.
    if (this.#fed) this.#stopFeeding()
    this.#stdout.end()
    this.#stderr.end()
    this.#finish(this.#outcome())
    const linger = setTimeout(() => this.#channel.close(), lingerMs)
    void this.closed.then(() => clearTimeout(linger))
  }

  #closed(): void {
    if (!this.#done) this.#conclude()
    this.#begin(undefined)
  }

  #outcome(): Outcome {
    const output = { stdout: this.#stdout.text(), stderr: this.#stderr.text() }
    const status = this.#stdout.parser.status
    if (status !== undefined) return { kind: 'exited', code: status, ...output }
    const { code, signal } = this.#exit ?? {}
    const ended = typeof code === 'number' || signal !== undefined
    if (this.#stdout.parser.info === undefined && ended) {
      const said = `${this.#stdout.parser.noise}\n${this.#stderr.parser.noise}`.trim()
      return { kind: 'not begun', code: code ?? undefined, said, shellWorks: this.#stderr.parser.loginWorked }
    }
    // The sh of the frame itself was killed. A login shell that waits for this sh reports 128 + the signal's number.
    if (signal !== undefined) return { kind: 'killed', signal, ...output }
    if (typeof code === 'number' && code > 128)
      return { kind: 'killed', signal: signalName(code - 128), ...output }
    return { kind: 'lost', ...output }
  }
}

/** A buffer that keeps the whole output, because an answer without its middle would be a different answer. */
class Whole {
  readonly #chunks: Buffer[] = []

  push(bytes: Buffer): void {
    this.#chunks.push(bytes)
  }

  text(): string {
    return Buffer.concat(this.#chunks).toString('utf8')
  }
}

/** One of a command's two output streams, with its parser. */
class FramedStream {
  readonly parser: FrameParser
  bytes = 0
  readonly #kept: Pick<KeptEnds, 'push' | 'text'>
  readonly #decoder = new StringDecoder('utf8')
  readonly #onLine: ((line: string) => void) | undefined
  #line = ''

  constructor(
    nonce: Nonce,
    onLine: ((line: string) => void) | undefined,
    kept: Pick<KeptEnds, 'push' | 'text'> = new Whole(),
  ) {
    this.#kept = kept
    this.#onLine = onLine
    this.parser = new FrameParser(nonce, (bytes) => this.#output(bytes))
  }

  push(chunk: Buffer): void {
    this.parser.push(chunk)
  }

  end(): void {
    this.parser.end()
    const rest = this.#line + this.#decoder.end()
    this.#line = ''
    if (rest !== '') this.#onLine?.(rest)
  }

  text(): string {
    return this.#kept.text()
  }

  #output(bytes: Buffer): void {
    this.bytes += bytes.length
    this.#kept.push(bytes)
    if (this.#onLine === undefined) return
    const parts = (this.#line + this.#decoder.write(bytes)).split(/\r?\n/)
    this.#line = parts.pop() ?? ''
    for (const line of parts) this.#onLine(line)
  }
}

const signals: Readonly<Record<number, string>> = {
  1: 'SIGHUP',
  2: 'SIGINT',
  6: 'SIGABRT',
  9: 'SIGKILL',
  11: 'SIGSEGV',
  13: 'SIGPIPE',
  15: 'SIGTERM',
}

function signalName(number: number): string {
  return signals[number] ?? `signal ${number}`
}
