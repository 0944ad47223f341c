import type { EventSink, OpsEvent } from '../core/events.js'
import { linesOf } from './plain-progress.js'
import { printable, printableLines } from './printable.js'
import { outcomeText } from './results-view.js'
import type { Style } from './style.js'

/** Above this many machines their lines would not fit: one line sums up, and only failures are named. */
const linesAtMost = 15
/** listr2 redraws everything at every change and blocks the event loop meanwhile. */
const redrawEveryMs = 250

interface Row {
  readonly since: number
  stage: string
  text: string
  ended: string | undefined
  failed: boolean
}

export interface LiveProgress extends EventSink {
  /** Which machines the run is about. */
  expect(machines: readonly string[]): void
  /** Clears the moving lines; the answer brings them back. What was noted meanwhile is printed in between. */
  pause(): Promise<() => void>
  /** Clears them for good. */
  end(): Promise<void>
}

/** Progress on a terminal: one line a machine that moves, cleared at the end (the table of results follows). */
export function createLiveProgress(write: (text: string) => void, style: Style): LiveProgress {
  const rows = new Map<string, Row>()
  let screen: Promise<{ close(): Promise<void> }> | undefined
  let paused = 0
  const noted: string[] = []

  const row = (machine: string): Row => {
    const known = rows.get(machine) ?? {
      since: Date.now(),
      stage: 'waiting',
      text: '',
      ended: undefined,
      failed: false,
    }
    rows.set(machine, known)
    return known
  }
  const draw = () => {
    if (paused === 0 && screen === undefined) screen = openScreen(rows)
  }
  const clear = async () => {
    const open = screen
    screen = undefined
    if (open !== undefined) await (await open).close()
    for (const line of noted.splice(0)) write(`${line}\n`)
  }
  const tell = (lines: readonly string[]) => {
    if (screen === undefined) for (const line of lines) write(`${line}\n`)
    else noted.push(...lines)
  }
  return {
    expect: (machines) => {
      for (const machine of machines) row(machine)
    },
    emit: (event) => {
      if (event.kind === 'notice' || event.machine === undefined) return tell(linesOf(event, style))
      take(row(event.machine), event)
      if (event.kind === 'stage') draw()
    },
    pause: async () => {
      paused += 1
      const wasDrawn = screen !== undefined
      await clear()
      return () => {
        paused -= 1
        if (wasDrawn) draw()
      }
    },
    end: async () => {
      paused += 1
      await clear()
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

/** Draws until closed. listr2's own handler of Ctrl-C would exit before anything is recorded: it stays off. */
async function openScreen(rows: ReadonlyMap<string, Row>): Promise<{ close(): Promise<void> }> {
  const { Listr, ListrLogger, ProcessOutput } = await import('listr2')
  let finish = () => {}
  const finished = new Promise<void>((resolve) => {
    finish = resolve
  })
  const lines =
    rows.size > linesAtMost ? [() => summary(rows)] : [...rows.keys()].map((name) => () => lineOf(name, rows))
  const timers: NodeJS.Timeout[] = []
  const list = new Listr(
    lines.map((text) => ({
      title: text(),
      task: (_, task) => {
        const timer = setInterval(() => {
          const now = text()
          if (task.title !== now) task.title = now
        }, redrawEveryMs)
        timers.push(timer)
        return finished
      },
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
      for (const timer of timers) clearInterval(timer)
      finish()
      await drawn
    },
  }
}

function lineOf(name: string, rows: ReadonlyMap<string, Row>): string {
  const row = rows.get(name)
  const width = Math.max(...[...rows.keys()].map((each) => each.length))
  if (row === undefined) return name
  if (row.ended !== undefined) return `${name.padEnd(width)}  ${row.ended}`
  const seconds = Math.round((Date.now() - row.since) / 1000)
  return `${name.padEnd(width)}  ${row.stage.padEnd(9)}  ${seconds} s  ${row.text}`.trimEnd()
}

/** `12 of 40 machines done · copy 3, activate 5 · failed: web7` */
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
