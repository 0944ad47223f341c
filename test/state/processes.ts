import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import { packageRoot } from '../../src/core/package-root.js'

const file = (name: string) => fileURLToPath(new URL(name, import.meta.url))
const runner = file('./run-typescript.mjs')
const storeProcess = file('./store-process.ts')

/** Another process that works with a store; it ends with the test at the latest. */
export interface StoreProcess {
  readonly child: ChildProcessWithoutNullStreams
  /** Returns the next value that the process printed; fails if the process ended without a value. */
  said(): Promise<unknown>
  /** Waits for the end of the process, and returns its exit. */
  ended(): Promise<{ code: number | null; signal: string | null; stderr: string }>
}

export function startStoreProcess(...args: readonly string[]): StoreProcess {
  return startProcess([process.execPath, runner, storeProcess, ...args])
}

/** Starts a store process that fails as soon as it loads the package conf. */
export function startStoreProcessWithoutConf(...args: readonly string[]): StoreProcess {
  return startProcess([
    process.execPath,
    '--import',
    file('./without-conf.mjs'),
    runner,
    storeProcess,
    ...args,
  ])
}

/**
 * Starts a process with a file system of 64 KiB mounted on `folder`, which only this process sees. An ordinary user can
 * do so too, in a new user namespace.
 */
export function startOnSmallDisk(folder: string, script: string): StoreProcess {
  const mount = 'mount -t tmpfs -o size=64k tmpfs "$1" && shift && exec "$@"'
  const unshare = ['unshare', '--map-root-user', '--mount', 'sh', '-c', mount, 'sh', folder]
  return startProcess([...unshare, process.execPath, runner, file(script), folder])
}

function startProcess([program = '', ...args]: readonly string[]): StoreProcess {
  const child = spawn(program, args, { cwd: packageRoot(), stdio: ['pipe', 'pipe', 'pipe'] })
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const ended = new Promise<{ code: number | null; signal: string | null; stderr: string }>(
    (resolve, reject) => {
      child.on('error', reject)
      child.on('close', (code, signal) => resolve({ code, signal, stderr }))
    },
  )
  onTestFinished(async () => {
    child.kill('SIGKILL')
    await ended
  })
  return {
    child,
    said: async () => {
      const { value, done } = await lines.next()
      if (done !== true) return JSON.parse(value)
      throw new Error(`the process ended: ${JSON.stringify(await ended)}`)
    },
    ended: () => ended,
  }
}
