import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { storeEnvironment } from '../../nix/nix-store-choice.js'
import { ScratchNix } from '../fakes/scratch-nix.js'

export type StandIn =
  | 'hydra'
  | 'hydra-database-url'
  | 'nix-serve'
  | 'nix-serve-ng'
  | 'harmonia'
  | 'harmonia-2'

const expression = fileURLToPath(new URL('../fixtures/packages', import.meta.url))
const deadlineMs = 60_000
const pollMs = 50

/** The stand-ins, built by Nix in a separate store that the programs use too. */
export class StandIns {
  readonly nix = new ScratchNix()
  readonly data = join(this.nix.folder, 'data')
  readonly #bins = new Map<StandIn, string>()
  readonly #started: Daemon[] = []

  async build(...names: readonly StandIn[]): Promise<void> {
    for (const name of names) {
      const drv = await this.nix.nix('nix-instantiate', [expression, '-A', name])
      const path = await this.nix.nix('nix-store', ['--realise', drv.trim()])
      this.#bins.set(name, this.nix.real(join(path.trim(), 'bin')))
    }
    for (const folder of ['', 'www', 'queue-runner', 'build-logs', 'gcroots'])
      mkdirSync(join(this.data, folder), { recursive: true })
  }

  bin(name: StandIn): string {
    const bin = this.#bins.get(name)
    if (bin === undefined) throw new Error(`${name} is not built`)
    return bin
  }

  /** Returns the store path of a stand-in. */
  path(name: StandIn): string {
    return this.bin(name).slice(this.nix.real('/').length - 1, -'/bin'.length)
  }

  /** Returns the environment of a service, without the tester's variables. */
  async env(more: Readonly<Record<string, string>>): Promise<Record<string, string>> {
    const env = storeEnvironment(await this.nix.command.store(), this.nix.env)
    return {
      PATH: '/usr/bin:/bin',
      LC_ALL: 'C.UTF-8',
      HOME: this.nix.folder,
      HYDRA_DATA: this.data,
      ...env,
      ...more,
    }
  }

  /** Starts a service, and waits until `ready` confirms it. */
  async start(
    name: StandIn,
    argv: readonly string[],
    env: Record<string, string>,
    ready: (daemon: Daemon) => Promise<boolean>,
  ): Promise<Daemon> {
    const [program = '', ...args] = argv
    const daemon = new Daemon(
      spawn(join(this.bin(name), program), args, { env, stdio: ['ignore', 'pipe', 'pipe'] }),
    )
    this.#started.push(daemon)
    await daemon.until(`${program} is ready`, () => ready(daemon))
    return daemon
  }

  /** Runs a program until it exits. */
  run(name: StandIn, argv: readonly string[], env: Record<string, string>, stdin = ''): Ended {
    const [program = '', ...args] = argv
    const { status, stdout, stderr } = spawnSync(join(this.bin(name), program), args, {
      env,
      input: stdin,
      encoding: 'utf8',
      timeout: deadlineMs,
    })
    return { status, stdout, stderr }
  }

  async dispose(): Promise<void> {
    for (const daemon of this.#started) await daemon.stop()
    this.nix.dispose()
  }
}

export interface Ended {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A program that runs until it is stopped. */
export class Daemon {
  readonly #child: ChildProcess
  #log = ''

  constructor(child: ChildProcess) {
    this.#child = child
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#log += text
      })
  }

  get log(): string {
    return this.#log
  }

  get status(): number | null {
    return this.#child.exitCode
  }

  /** Waits for a condition; the error after the deadline includes the program's log. */
  async until(what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
    const end = Date.now() + deadlineMs
    while (!(await holds())) {
      if (this.status !== null)
        throw new Error(`${what}: the program ended with ${this.status}\n${this.#log}`)
      if (Date.now() > end) throw new Error(`not within ${deadlineMs / 1000} s: ${what}\n${this.#log}`)
      await sleep(pollMs)
    }
  }

  /**
   * Waits for a text in the log. The log comes through a pipe, so a line may arrive after the event that it reports.
   */
  async says(words: string | RegExp): Promise<void> {
    await this.until(`it says ${words}`, () =>
      typeof words === 'string' ? this.#log.includes(words) : words.test(this.#log),
    )
  }

  async stop(): Promise<number | null> {
    return this.#end('SIGTERM')
  }

  /** Kills the program, as a power cut would. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL')
  }

  async #end(signal: 'SIGTERM' | 'SIGKILL'): Promise<number | null> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const ended = new Promise((resolve) => this.#child.once('exit', resolve))
      this.#child.kill(signal)
      const timer = setTimeout(() => this.#child.kill('SIGKILL'), 10_000)
      await ended
      clearTimeout(timer)
    }
    return this.status
  }
}
