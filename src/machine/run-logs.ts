import { appendFileSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { RunLogs } from '../core/context.js'
import { messageOf } from '../core/errors.js'
import type { MachineName } from '../core/names.js'

/** Number of a machine's last log lines that stay in memory, for the evidence of a failure. */
const kept = 200

/** Name of the log for lines that belong to no machine; no machine can have this name. */
export const wholeRunLog = '_run'

export interface RunLogsOptions {
  /** Folder of the deployment's logs. */
  readonly folder: string
  /** Id of the run, and the name of the run's folder in `folder`. */
  readonly run: string
  now(): Date
  /** Receives one message if the log cannot be written; the logged work continues. */
  onProblem(text: string): void
}

/** Writes `<logs>/<run>/<machine>.log`, 0600, line by line, so that a crash loses nothing. */
export function createRunLogs({ folder, run, now, onProblem }: RunLogsOptions): RunLogs {
  const own = join(folder, run)
  const recent = new Map<string, string[]>()
  let state: 'new' | 'open' | 'broken' | 'closed' = 'new'
  let held: { readonly name: string; readonly text: string }[] | undefined

  const write = (name: string, text: string) => {
    if (state === 'broken' || state === 'closed') return
    if (held !== undefined) {
      held.push({ name, text })
      return
    }
    try {
      if (state === 'new') mkdirSync(own, { recursive: true, mode: 0o700 })
      state = 'open'
      appendFileSync(join(own, `${name}.log`), text, { mode: 0o600 })
    } catch (error) {
      state = 'broken'
      onProblem(
        `the logs of this run cannot be written (${messageOf(error)}); the command continues without logs`,
      )
    }
  }
  return {
    append: (machine, line) => {
      const name = machine ?? wholeRunLog
      for (const each of line.split('\n')) {
        remember(recent, name, each)
        write(name, `${now().toISOString()} ${each}\n`)
      }
    },
    tail: (machine: MachineName, lines: number) => recent.get(machine)?.slice(-lines) ?? [],
    hold: () => {
      held ??= []
    },
    release: () => {
      const lines = held ?? []
      held = undefined
      for (const { name, text } of lines) write(name, text)
    },
    close: () => {
      state = 'closed'
    },
  }
}

function remember(recent: Map<string, string[]>, name: string, line: string): void {
  const lines = recent.get(name) ?? []
  lines.push(line)
  if (lines.length > kept * 2) lines.splice(0, lines.length - kept)
  recent.set(name, lines)
}

/** Returns a unique id that sorts by time: `20261121-101500-a1b2c3`. */
export function runId(now: Date, random: string): string {
  const digits = now
    .toISOString()
    .replace(/\.\d+Z$/, '')
    .replace(/[-:]/g, '')
    .replace('T', '-')
  return `${digits}-${random}`
}
