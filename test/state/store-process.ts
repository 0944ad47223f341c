/**
 * Another process that works with a store: `store-process.ts ACTION ROOT …`. The program prints its results, one JSON
 * value per line.
 */
import { randomUUID } from 'node:crypto'
import { closeSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { OpsError } from '../../src/core/errors.js'
import { DeploymentName, DeploymentUuid, MachineName } from '../../src/core/names.js'
import { localCommands } from '../../src/exec/local-commands.js'
import { tryLock } from '../../state/lock.js'
import { machineRecord } from './machine-record.js'
import { storeIn } from './open-store.js'

const [action = '', root = '', ...rest] = process.argv.slice(2)
const operator = {
  user: 'bob',
  host: hostname(),
  command: `store-process ${action}`,
  run: `run-${process.pid}`,
}
const run = { signal: new AbortController().signal, log: () => {} }

function say(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`)
}

const actions: Readonly<Record<string, () => Promise<void>>> = {
  /** Takes the lock of a deployment, and keeps the lock until this process is killed. */
  async hold() {
    const store = await storeIn(root, { operator })
    await store.lock(DeploymentUuid.parse(rest[0]), async () => {
      say('held')
      await sleep(600_000)
    })
  },

  /**
   * Takes the lock of a deployment, and runs a program under the lock. Keeps the lock until this process is killed.
   * Reports the program's output.
   */
  async holdWithProgram() {
    const store = await storeIn(root, { operator })
    const [uuid, ...argv] = rest
    await store.lock(DeploymentUuid.parse(uuid), async () => {
      const { signal } = run
      const what = 'run a program of the test'
      await localCommands.run(argv, { signal, timeoutMs: 600_000, what, onLine: say })
      say('ended')
      await sleep(600_000)
    })
  },

  /** Takes the lock of the whole store, and keeps the lock until this process is killed. */
  async holdStore() {
    const store = await storeIn(root, { operator })
    await store.allocating(DeploymentUuid.parse(randomUUID()), run, async () => {
      say('held')
      await sleep(600_000)
    })
  },

  /** Tries once to become the writer of a deployment. */
  async contend() {
    const store = await storeIn(root, { operator })
    const uuid = DeploymentUuid.parse(rest[0])
    say('ready')
    await firstInput()
    try {
      await store.lock(uuid, async (held) => {
        await held.journal({ event: 'won' })
        say('held')
        await firstInput()
      })
    } catch (error) {
      if (!(error instanceof OpsError)) throw error
      say({ message: error.message, hint: error.hint, exitCode: error.exitCode })
    }
  },

  /** Gives each machine of a new deployment the lowest port that no deployment uses. */
  async allocate() {
    const store = await storeIn(root, { operator })
    const name = DeploymentName.parse(`deployment-${process.pid}`)
    const { uuid } = await store.create({ name, expressions: [], searchPath: [], args: {} })
    await store.lock(uuid, async (held) => {
      for (let index = 1; index <= Number(rest[0]); index += 1) {
        await store.allocating(uuid, run, async (others) => {
          const taken = new Set(
            [...others, held.record].flatMap((record) =>
              Object.values(record.machines).map((machine) => machine.allocation),
            ),
          )
          let port = 20_000
          while (taken.has(port)) port += 1
          // Another process would otherwise choose the same port during this pause.
          await sleep(Math.random() * 5)
          await held.putMachine(MachineName.parse(`m${index}`), machineRecord({ index, allocation: port }))
        })
      }
    })
    say('done')
  },

  /**
   * Takes one lock repeatedly, for at least a given time and a given number of times. It loses the lock each time as a
   * dying process does. A busy host may give this process only a part of the time.
   */
  async takeOver() {
    const folder = join(root, 'lock')
    const inside = join(root, 'inside')
    let won = 0
    let together = 0
    const [end, atLeast] = [Date.now() + Number(rest[0]), Number(rest[1])]
    while (Date.now() < end || won < atLeast) {
      const attempt = await tryLock(folder, operator, new Date())
      if (attempt.kind === 'busy') {
        await sleep(Math.random())
        continue
      }
      won += 1
      if (!enter(inside)) together += 1
      await sleep(Math.random() * 2)
      rmSync(inside, { force: true })
      if (attempt.lock.isOurs()) dieHolding(folder)
      else together += 1
    }
    say({ won, together })
  },

  /** Makes the first write to a deployment, and is killed after the n-th write. */
  async divide() {
    const onWrite = (n: number) => {
      if (n === Number(rest[1])) process.kill(process.pid, 'SIGKILL')
    }
    const store = await storeIn(root, { operator, onWrite })
    await store.lock(DeploymentUuid.parse(rest[0]), (held) =>
      held.putMachine(MachineName.parse('other'), machineRecord({ index: 9 })),
    )
    say('done')
  },

  /** Goes through a deployment's whole life, and is killed after the n-th write. */
  async life() {
    const stopAfter = Number(rest[0])
    const onWrite = (n: number) => {
      if (n === stopAfter) process.kill(process.pid, 'SIGKILL')
    }
    const store = await storeIn(root, { operator, onWrite })
    const name = DeploymentName.parse('lab')
    const { uuid } = await store.create({ name, expressions: [], searchPath: [], args: {} })
    await store.lock(uuid, async (held) => {
      await held.journal({ event: 'deploy.begin' })
      for (const machine of ['web', 'db']) {
        await held.putMachine(MachineName.parse(machine), machineRecord())
      }
      await held.journal({ event: 'deploy.end' })
    })
    await store.lock(uuid, async (held) => held.remove())
    await store.setPreferences({ maxConcurrent: 3 })
    say('done')
  },
}

function enter(file: string): boolean {
  try {
    closeSync(openSync(file, 'wx'))
    return true
  } catch {
    return false
  }
}

/** Rewrites the lock as if this process were gone: the holder becomes an impossible pid. */
function dieHolding(folder: string): void {
  const file = join(folder, 'holder.json')
  const holder = JSON.parse(readFileSync(file, 'utf8'))
  const draft = join(root, `dead-${process.pid}`)
  writeFileSync(draft, JSON.stringify({ ...holder, pid: 4_194_305 }))
  renameSync(draft, file)
}

async function firstInput(): Promise<void> {
  for await (const _ of process.stdin.iterator({ destroyOnReturn: false })) return
}

await actions[action]?.()
