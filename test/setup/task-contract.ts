import { expect, it } from 'vitest'
import { failure } from '../../src/core/errors.js'
import { placeProblems, unitFile } from '../../src/core/owned-places.js'
import type { TaskRun, WantedTask } from '../../src/core/setup-task.js'
import type { CommandResult, Host, RemoteOptions } from '../../src/core/ssh.js'
import { linesOf, readScript, recordsOf } from '../fakes/script-values.js'
import { taskRun } from '../fakes/task-run.js'
import { withScript } from '../fixtures/with-script.js'

/** A task, a machine for it, and scripts that damage its results. */
export interface ContractSubject {
  readonly host: Host
  readonly task: WantedTask
  /** Whether the task can be proved here; stand-ins for its programs prevent a proof. */
  readonly verifiable: boolean
  /** A script that removes everything that the task leaves behind. */
  readonly reset: string
  /** Scripts that damage the task's results, by name. */
  readonly damages: Readonly<Record<string, string>>
  /** The operator's input for the task. The default has a port of this machine and no secrets. */
  readonly run?: TaskRun
  /** Whether the test expects `placeFiles` for the task's files; other tasks have their own scripts. */
  readonly placesFiles?: boolean
  /** Returns the path on a real machine of a file that the stand-in has elsewhere. */
  realPath?(path: string): string
  /** The distance between tested crash points, for tasks whose attempts take minutes. */
  readonly crashEvery?: number
}

const silent = taskRun()

/** The maximum number of steps, which ends an apply that has more steps than any task should. */
const mostCrashes = 150

/** The time for all crashes. Each crash needs two attempts, which take a minute under emulation. */
export const crashesMs = 45 * 60_000

/** Defines the tests of everything that the engine expects from a set-up task (design, section 9). */
export function taskContract(subject: () => ContractSubject): void {
  const run = () => subject().run ?? silent
  const apply = async (host = subject().host) => subject().task.apply(host, run())
  const probe = () => subject().task.probe(subject().host, run())
  const remote = async (script: string) => {
    const options = { signal: silent.signal, timeoutMs: 120_000, what: 'hurt the machine' }
    const ended = await subject().host.script(script, [], options)
    expect(ended, `${script}\n${ended.stderr}`).toMatchObject({ kind: 'exited', code: 0 })
  }
  /** Expects the task to be done; a proof includes the wait for a slow service. */
  const expectDone = async (when?: string) => {
    if (subject().verifiable) await subject().task.verify(subject().host, run())
    expect(await probe(), when).toBe('done')
  }

  it('is needed when it never ran', async () => {
    await remote(subject().reset)
    expect(await probe()).toBe('needed')
  })

  it('is done once applied, holds, and writes only files and units that it owns', async () => {
    await remote(subject().reset)
    const files = new Set<string>()
    const units = new Set<string>()
    const { host, task } = subject()
    const recording = withScript(host, (text, args, options) => {
      for (const path of placedPaths(text)) files.add(path)
      for (const path of unitsIn(text)) units.add(path)
      return host.script(text, args, options)
    })
    await apply(recording)
    await expectDone()
    if (subject().placesFiles === true) expect(files.size).toBeGreaterThan(0)
    const free = [...files, ...units].filter((seen) => {
      const path = subject().realPath?.(seen) ?? seen
      const wanted = [{ option: ['deployment', 'files', path], path }]
      return placeProblems(wanted, task.owns).length === 0
    })
    expect(free).toEqual([])
  })

  it('changes no output when it is applied again', async () => {
    const first = await apply()
    expect(await apply()).toEqual(first)
    await expectDone()
  })

  it('sees each damage, and fixes it', { timeout: crashesMs }, async () => {
    await apply()
    for (const [name, script] of Object.entries(subject().damages)) {
      await remote(script)
      expect(await probe(), name).toMatchObject({ drifted: expect.any(String) })
      await apply()
      await expectDone(name)
    }
  })

  it('is done after a crash at any step and another attempt', { timeout: crashesMs }, async () => {
    const every = subject().crashEvery ?? 1
    let crashes = 0
    for (; crashes < mostCrashes; crashes += every) {
      await remote(subject().reset)
      const crashing = new CrashingHost(subject().host, crashes)
      const ended = await apply(crashing as unknown as Host).then(
        () => true,
        () => false,
      )
      if (ended) break
      await apply()
      await expectDone(`crash ${crashes}`)
    }
    expect(crashes).toBeGreaterThan(3)
    expect(crashes).toBeLessThan(mostCrashes)
  })
}

/** Lists the destinations of a script that `placeFiles` runs; returns none for any other script. */
function placedPaths(text: string): string[] {
  const { name, values } = readScript(text)
  return name === 'place-files' ? recordsOf(values.files).map(([path = '']) => path) : []
}

/** Lists the files of the units that a script of `convergeServices` starts or removes. */
function unitsIn(text: string): string[] {
  const { name, values } = readScript(text)
  return name === 'services/converge'
    ? [...linesOf(values.units), ...linesOf(values.obsolete)].map(unitFile)
    : []
}

/**
 * A machine whose connection is lost at the n-th step. A step is a command, or a `step` in a script of target/. The
 * script is killed there, and no later command reaches the machine.
 */
export class CrashingHost implements Pick<Host, 'exec' | 'script' | 'machine'> {
  readonly machine
  private readonly host: Host
  private left: number

  constructor(host: Host, step: number) {
    this.host = host
    this.machine = host.machine
    this.left = step
  }

  async exec(argv: readonly string[], options: RemoteOptions): Promise<CommandResult> {
    if (this.left <= 0) throw lost()
    this.left -= 1
    return this.host.exec(argv, options)
  }

  async script(text: string, _args: readonly string[], options: RemoteOptions): Promise<CommandResult> {
    if (this.left <= 0) throw lost()
    this.left -= 1
    const ended = await this.host.script(`steps_left=${this.left}\n${text}`, [], options)
    const passed = ended.stderr.split('\n').filter((line) => line.startsWith('step ')).length
    this.left = ended.kind === 'exited' ? this.left - passed : 0
    return ended
  }
}

function lost(): Error {
  return failure('CONNECTION_LOST', 'the machine is gone (by this test)')
}

/** Returns a host that loses its connection before a script with this name begins. */
export function dyingBefore(host: Host, what: string): Host {
  return withScript(host, (text, args, options) =>
    options.what.startsWith(what) ? Promise.reject(lost()) : host.script(text, args, options),
  )
}
