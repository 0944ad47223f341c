import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { basename } from 'node:path'
import type { LocalCommands } from '../../src/core/context.js'

/** The name of a store write among the points of a crashing operator. */
export const storeWrite = 'write of the store'

export interface Watched {
  /** The point at which the process kills itself; 0 for no point. */
  readonly nth: number
  /** Says whether a path belongs to a file of a machine. */
  isOfMachine(path: string): boolean
  /** Names the change that a command makes; undefined for a command that only reads. */
  change(argv: readonly string[]): string | undefined
  readonly run: LocalCommands['run']
  /** Starts a command that outlives this process; `run` by default. */
  readonly begin?: LocalCommands['run']
}

export interface CrashPoints {
  /** Names of the points so far. */
  readonly passed: readonly string[]
  readonly run: LocalCommands['run']
  onWrite(): void
  /** Counts points from now on. */
  start(): void
}

/**
 * Watches this process, and kills it at its n-th point. Nothing runs after the SIGKILL. Points are writes
 * of the store and changes of the machine's files. A command that changes something has two points: its
 * start and its end.
 */
export function crashPoints({ nth, isOfMachine, change, run, begin = run }: Watched): CrashPoints {
  const points: string[] = []
  let watching = false
  /** Number of running commands. A file change during a command is not a point. */
  let commands = 0
  const isNext = () => watching && points.length + 1 === nth
  const point = (what: string): void => {
    if (!watching) return
    points.push(what)
    if (points.length === nth) process.kill(process.pid, 'SIGKILL')
  }
  watchFiles((name, path) => {
    if (commands === 0 && isOfMachine(path)) point(`${name} ${withoutUuids(basename(path))}`)
  })
  return {
    passed: points,
    run: async (argv, options) => {
      const what = change(argv)
      if (what === undefined) return run(argv, options)
      commands += 1
      try {
        const running = isNext() ? begin(argv, options) : run(argv, options)
        point(`${what} begins`)
        const result = await running
        point(`${what} ended`)
        return result
      } finally {
        commands -= 1
      }
    },
    onWrite: () => point(storeWrite),
    start: () => {
      watching = true
    },
  }
}

/** Watches file changes. The watched functions take the file first, and a rename counts under its new name. */
function watchFiles(changed: (name: string, path: string) => void): void {
  const change = (name: string, args: readonly unknown[]): void => {
    const path = String(args[name.startsWith('rename') ? 1 : 0])
    const reads = name.startsWith('open') && args[1] !== 'wx'
    if (!reads) changed(name, path)
  }
  const watched =
    <A extends unknown[], R>(name: string, real: (...args: A) => R) =>
    (...args: A): R => {
      const result = real(...args)
      change(name, args)
      return result
    }
  const watchedLater =
    <A extends unknown[], R>(name: string, real: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      const result = await real(...args)
      change(name, args)
      return result
    }
  Object.assign(fs, {
    mkdirSync: watched('mkdirSync', fs.mkdirSync),
    openSync: watched('openSync', fs.openSync),
    renameSync: watched('renameSync', fs.renameSync),
    rmdirSync: watched('rmdirSync', fs.rmdirSync),
    rmSync: watched('rmSync', fs.rmSync),
    writeFileSync: watched('writeFileSync', fs.writeFileSync),
  })
  // The durable writer uses these asynchronous functions.
  Object.assign(fs.promises, {
    mkdir: watchedLater('mkdir', fs.promises.mkdir),
    open: watchedLater('open', fs.promises.open),
    rename: watchedLater('rename', fs.promises.rename),
    rmdir: watchedLater('rmdir', fs.promises.rmdir),
    rm: watchedLater('rm', fs.promises.rm),
    writeFile: watchedLater('writeFile', fs.promises.writeFile),
  })
  syncBuiltinESMExports()
}

function withoutUuids(name: string): string {
  return name.replaceAll(/[0-9a-f]{8}-[0-9a-f-]{27}/g, 'UUID').replace(/[0-9a-f]{12}\.tmp$/, 'DRAFT')
}
