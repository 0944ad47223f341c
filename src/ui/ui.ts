import type { Questions } from '../core/context.js'
import type { EventSink } from '../core/events.js'
import { toJsonText } from './json.js'
import { createPlainProgress, linesOf } from './plain-progress.js'
import { createQuestions, type InStream } from './questions.js'
import { createStyle, type Style, wantsColour } from './style.js'

export interface OutStream {
  readonly isTTY?: boolean | undefined
  /** The width; 0 means unknown. */
  readonly columns?: number | undefined
  write(text: string): unknown
}

/** The standard streams and the environment, of the process or of a test. */
export interface World {
  readonly stdin: InStream
  readonly stdout: OutStream
  readonly stderr: OutStream
  readonly env: Readonly<Record<string, string | undefined>>
}

export interface UiOptions extends World {
  readonly json: boolean
  readonly plain: boolean
  /** Whether colours are allowed; false after `--no-color`. */
  readonly colour: boolean
  readonly signal: AbortSignal
}

/** The only writer to the terminal: a command's result on standard output, everything else on standard error. */
export interface Ui {
  readonly json: boolean
  readonly plain: boolean
  /** The style for standard output. */
  readonly style: Style
  /** The style for standard error. */
  readonly errStyle: Style
  readonly events: EventSink
  readonly questions: Questions
  /** Prints the command's result, the text of a view. An empty text prints nothing, not an empty line. */
  print(text: string): void
  /** Prints the command's result unchanged, for other programs. */
  raw(text: string): void
  /**
   * Prints one line of a remote command on the stream from which the line came. The caller has already made
   * the line printable.
   */
  line(text: string, stream: 'stdout' | 'stderr'): void
  printJson(value: unknown): void
  /** Prints a remark for people on standard error; prints nothing with --json. */
  remark(text: string): void
  /** Prints text that people should see before the command continues, such as the plan of a deploy. */
  announce(text: string): void
  /** Adds the machines of the coming run to the progress display. */
  expect(machines: readonly string[]): void
  /** Ends the moving lines, so that the command's result can follow. */
  settle(): Promise<void>
}

export async function createUi(options: UiOptions): Promise<Ui> {
  const { stdout, stderr, json, plain, env } = options
  const style = createStyle(wantsColour(stdout, options.colour, env))
  const errStyle = createStyle(wantsColour(stderr, options.colour, env))
  const error = (text: string) => void stderr.write(text)
  const live = isLive(options)
    ? (await import('./live-progress.js')).createLiveProgress(error, errStyle)
    : undefined
  const events = json ? noticesOnly(error, errStyle) : (live ?? createPlainProgress(error, errStyle))
  return {
    json,
    plain,
    style,
    errStyle,
    events,
    questions: createQuestions({
      interactive: options.stdin.isTTY === true && stderr.isTTY === true,
      stdin: options.stdin,
      signal: options.signal,
      pause: async () => (await live?.pause()) ?? (() => {}),
    }),
    print: (text) => {
      if (text !== '') stdout.write(`${text}\n`)
    },
    raw: (text) => void stdout.write(text),
    line: (text, stream) => void (stream === 'stdout' ? stdout : stderr).write(`${text}\n`),
    printJson: (value) => void stdout.write(`${toJsonText(value)}\n`),
    remark: (text) => events.emit({ kind: 'line', machine: undefined, line: text }),
    announce: (text) => {
      if (live === undefined) error(`${text}\n`)
      else live.announce(text.split('\n'))
    },
    expect: (machines) => live?.expect(machines),
    settle: async () => live?.end(),
  }
}

/** Tells whether both streams are terminals, because listr2 looks at process.stdout itself. */
function isLive({ stdout, stderr, plain, json, env }: UiOptions): boolean {
  return (
    stdout.isTTY === true &&
    stdout.columns !== 0 &&
    stderr.isTTY === true &&
    !plain &&
    !json &&
    env.CI === undefined &&
    env.TERM !== 'dumb'
  )
}

/** Shows only notices. No progress is shown with --json, but the user should still see the notices. */
function noticesOnly(write: (text: string) => void, style: Style): EventSink {
  return {
    emit: (event) => {
      if (event.kind === 'notice') for (const line of linesOf(event, style)) write(`${line}\n`)
    },
  }
}
