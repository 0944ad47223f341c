import type { EventSink, OpsEvent } from '../core/events.js'
import { onAbort } from '../core/on-abort.js'
import { linesOf } from './plain-progress.js'
import { printable, printableLines } from './printable.js'
import { outcomeText } from './results-view.js'
import type { Style } from './style.js'

/** Maximum number of machines that have a line each. More machines share one line, which names only failed machines. */
const linesAtMost = 15
/** The pause between redraws: listr2 redraws everything at every change and blocks the event loop meanwhile. */
const redrawEveryMs = 250

interface Row {
  readonly since: number
  stage: string
  text: string
  ended: string | undefined
  failed: boolean
}

export interface LiveProgress extends EventSink {
  /** Adds the machines of the run before their first events. */
  expect(machines: readonly string[]): void
  /** Prints lines above the moving lines at once. */
  announce(lines: readonly string[]): void
  /**
   * Clears the moving lines; the returned function restores them. Waiting notices are printed when the lines are
   * cleared.
   */
  pause(): Promise<() => void>
  /** Clears the moving lines for good. */
  end(): Promise<void>
}

/** The delay before a screen opens, so that machines that begin together share the screen. */
const gatherMs = 100

/** Shows progress on a terminal: one moving line per machine, cleared at the end (the table of results follows). */
export function createLiveProgress(write: (text: string) => void, style: Style): LiveProgress {
  const rows = new Map<string, Row>()
  const noted: string[] = []
  let screen: Promise<Screen> | undefined
  let gathering: NodeJS.Timeout | undefined
  let paused = 0
  /** Resolves when the previous screen has been cleared. */
  let closing: Promise<void> = Promise.resolve()

  const open = () => {
    gathering = undefined
    screen = closing.then(() => openScreen(rows))
  }
  const draw = () => {
    if (paused === 0 && screen === undefined) gathering ??= setTimeout(open, gatherMs)
  }
  const clear = async () => {
    clearTimeout(gathering)
    gathering = undefined
    const shown = screen
    screen = undefined
    closing = closing.then(async () => {
      await (await shown)?.close()
      for (const line of noted.splice(0)) write(`${line}\n`)
    })
    await closing
  }
  const pause = async () => {
    paused += 1
    await clear()
    return () => {
      paused -= 1
      if ([...rows.values()].some((row) => row.ended === undefined)) draw()
    }
  }
  const rowOf = (machine: string): Row => {
    const known = rows.get(machine)
    if (known !== undefined) return known
    const row = { since: Date.now(), stage: '', text: '', ended: undefined, failed: false }
    rows.set(machine, row)
    // An open screen cannot add a machine, so a new screen replaces it.
    if (screen !== undefined) redraw()
    return row
  }
  const redraw = () => void pause().then((resume) => resume())
  return {
    expect: (machines) => {
      for (const machine of machines) rowOf(machine)
    },
    emit: (event) => {
      if (event.kind !== 'notice' && event.machine !== undefined) {
        take(rowOf(event.machine), event)
        if (event.kind !== 'done') draw()
        return
      }
      const lines = linesOf(event, style)
      if (screen === undefined) for (const line of lines) write(`${line}\n`)
      else noted.push(...lines)
    },
    announce: (lines) => {
      noted.push(...lines)
      redraw()
    },
    pause,
    end: async () => {
      await pause()
    },
  }
}

function take(row: Row, event: Exclude<OpsEvent, { kind: 'notice' }>): void {
  if (event.kind === 'stage') {
    row.stage = event.stage
    row.text = printable(event.detail ?? '')
  } else if (event.kind === 'line') {
    row.text = printableLines(event.line).at(-1) ?? row.text
  } else {
    row.ended = outcomeText(event.result)
    row.failed = event.result.outcome === 'failed'
  }
}

/** One line on the screen: its current text, and whether its machine has ended well or badly. */
interface Line {
  text(): string
  ended(): 'well' | 'badly' | undefined
}

interface Screen {
  close(): Promise<void>
}

/**
 * Opens a screen that draws until it is closed. listr2's own handler of Ctrl-C stays off, because it exits before
 * anything is recorded.
 */
async function openScreen(rows: ReadonlyMap<string, Row>): Promise<Screen> {
  const { Listr, ListrLogger, ProcessOutput } = await import('listr2')
  const closing = new AbortController()
  const list = new Listr(
    linesFor(rows).map((line) => ({
      title: line.text(),
      task: (_, task) =>
        follow(line, closing.signal, (text) => {
          if (task.title !== text) task.title = text
        }),
    })),
    {
      concurrent: true,
      exitOnError: false,
      registerSignalListeners: false,
      rendererOptions: {
        lazy: true,
        clearOutput: true,
        formatOutput: 'truncate',
        logger: new ListrLogger({
          useIcons: true,
          processOutput: new ProcessOutput(process.stderr, process.stderr),
        }),
      },
    },
  )
  const drawn = list.run()
  return {
    close: async () => {
      closing.abort()
      await drawn
    },
  }
}

/** Shows a line again at intervals, until the line has ended or the screen is closed. A failed line rejects. */
function follow(line: Line, closing: AbortSignal, show: (text: string) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    let stopListening = () => {}
    const end = () => {
      clearInterval(timer)
      stopListening()
    }
    const stop = () => {
      end()
      resolve()
    }
    const timer = setInterval(() => {
      const ended = line.ended()
      show(line.text())
      if (ended === 'well') stop()
      if (ended === 'badly') {
        end()
        reject(new Error(line.text()))
      }
    }, redrawEveryMs)
    // A screen may be closed before its lines are followed.
    stopListening = onAbort(closing, stop)
  })
}

function linesFor(rows: ReadonlyMap<string, Row>): Line[] {
  if (rows.size > linesAtMost) return [{ text: () => summary(rows), ended: () => undefined }]
  return [...rows].map(([name, row]) => ({
    text: () => lineOf(name, rows),
    ended: () => (row.ended === undefined ? undefined : row.failed ? 'badly' : 'well'),
  }))
}

function lineOf(name: string, rows: ReadonlyMap<string, Row>): string {
  const row = rows.get(name)
  const width = Math.max(...[...rows.keys()].map((each) => each.length))
  if (row === undefined) return name
  if (row.ended !== undefined) return `${name.padEnd(width)}  ${row.ended}`
  const seconds = Math.round((Date.now() - row.since) / 1000)
  return `${name.padEnd(width)}  ${row.stage.padEnd(9)}  ${seconds} s  ${row.text}`.trimEnd()
}

/** Formats `12 of 40 machines done · copy 3, activate 5 · failed: web7`. */
export function summary(
  rows: ReadonlyMap<string, { stage: string; ended: string | undefined; failed: boolean }>,
): string {
  const all = [...rows.entries()]
  const busy = new Map<string, number>()
  for (const [, row] of all) if (row.ended === undefined) busy.set(row.stage, (busy.get(row.stage) ?? 0) + 1)
  const stages = [...busy].map(([stage, count]) => `${stage} ${count}`).join(', ')
  const failed = all.filter(([, row]) => row.failed).map(([name]) => name)
  const done = all.filter(([, row]) => row.ended !== undefined).length
  return [
    `${done} of ${all.length} machines done`,
    ...(stages === '' ? [] : [stages]),
    ...(failed.length === 0 ? [] : [`failed: ${failed.join(', ')}`]),
  ].join(' · ')
}
