import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { withSetUpLock } from '../../src/tasks/machine-lock.js'
import { LocalShellHost } from '../fakes/local-shell-host.js'

let root: string
let file: string
let machine: LocalShellHost
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'ho-set-up-'))
  file = join(root, 'run/set-up-by')
  machine = new LocalShellHost({ moved: { '/run/hydra-ops': join(root, 'run') } })
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

const run = { signal: new AbortController().signal, log: (_: string) => {} }
const alice = 'alice@laptop with the state /home/alice/s'
const bob = 'bob@desk with the state /home/bob/s'

const enters = (who: string) =>
  withSetUpLock(
    () => machine,
    who,
    run,
    async () => 'done',
  )

/** Starts another operator's set-up of the machine; the returned function ends it. */
async function beingSetUp(who: string): Promise<() => Promise<void>> {
  let end = (): void => {}
  const until = new Promise<void>((resolve) => {
    end = resolve
  })
  let begun = (): void => {}
  const started = new Promise<void>((resolve) => {
    begun = resolve
  })
  const ended = withSetUpLock(
    () => machine,
    who,
    run,
    async () => {
      begun()
      await until
    },
  )
  await Promise.race([started, ended])
  return async () => {
    end()
    await ended
  }
}

describe('a pair of operators', () => {
  it('is kept apart: the second learns who works there, and touches nothing', async () => {
    const letGo = await beingSetUp(alice)
    let touched = false
    const second = withSetUpLock(
      () => machine,
      bob,
      run,
      async () => {
        touched = true
      },
    )
    await expect(second).rejects.toMatchObject({
      message: `machine 'local' has been locked for set-up by ${alice} for less than a minute`,
      hint: expect.stringContaining('remove /run/hydra-ops/set-up-by on the machine'),
    })
    expect(touched).toBe(false)
    await letGo()
    expect(await enters(bob)).toBe('done')
    expect(readdirSync(join(root, 'run'))).toEqual([])
  })

  it('never gets in together at the very same moment', async () => {
    let inside = 0
    let most = 0
    const work = async () => {
      inside += 1
      most = Math.max(most, inside)
      await new Promise((resolve) => setImmediate(resolve))
      inside -= 1
    }
    const all = Array.from({ length: 8 }, (_, index) => withSetUpLock(() => machine, `${index}`, run, work))
    const ended = await Promise.allSettled(all)
    expect(most).toBe(1)
    expect(ended.filter(({ status }) => status === 'fulfilled').length).toBeGreaterThan(0)
  })
})

describe('a lock with a vanished holder', () => {
  /** Leaves a lock that expired long ago. */
  function abandoned(): void {
    mkdirSync(join(root, 'run'), { recursive: true })
    writeFileSync(file, `${alice}\n`)
    const longAgo = new Date(Date.now() - 3 * 3_600_000)
    utimesSync(file, longAgo, longAgo)
  }

  it.each([2, 8, 24])(
    'is taken over by one of %i simultaneous operators, and the others learn by whom',
    async (count) => {
      abandoned()
      let letGo = (): void => {}
      const until = new Promise<void>((resolve) => {
        letGo = resolve
      })
      const holders: string[] = []
      const names = Array.from({ length: count }, (_, index) => `operator ${index}`)
      const all = names.map((who) =>
        withSetUpLock(
          () => machine,
          who,
          run,
          async () => {
            holders.push(who)
            await until
          },
        ),
      )
      const refused: string[] = []
      for (const each of all) each.catch((error: unknown) => refused.push(String(error)))
      await vi.waitFor(() => expect(holders.length + refused.length).toBe(count), { timeout: 30_000 })
      letGo()
      await Promise.allSettled(all)
      expect(holders).toHaveLength(1)
      for (const each of refused) expect(each).toContain(`has been locked for set-up by ${holders[0]}`)
      expect(readdirSync(join(root, 'run'))).toEqual([])
    },
  )

  it('is not removed by its returning holder after another operator took it', async () => {
    const comesBack = await beingSetUp(alice)
    const longAgo = new Date(Date.now() - 3 * 3_600_000)
    utimesSync(file, longAgo, longAgo)
    const letGo = await beingSetUp(bob)
    await comesBack()
    expect(readFileSync(file, 'utf8')).toBe(`${bob}\n`)
    await letGo()
    expect(existsSync(file)).toBe(false)
  })

  it('is free when a crash left only half of its text', async () => {
    abandoned()
    writeFileSync(file, '')
    const longAgo = new Date(Date.now() - 3 * 3_600_000)
    utimesSync(file, longAgo, longAgo)
    expect(await enters(bob)).toBe('done')
  })
})

describe('an operator', () => {
  it('releases the machine also when a task fails', async () => {
    const failing = withSetUpLock(
      () => machine,
      alice,
      run,
      async () => {
        throw new Error('the task failed')
      },
    )
    await expect(failing).rejects.toThrow('the task failed')
    expect(existsSync(file)).toBe(false)
  })

  it('goes on when a crash of its own left the machine locked', async () => {
    await beingSetUp(alice)
    expect(await enters(alice)).toBe('done')
  })

  it('is not an obstacle when it vanished hours ago', async () => {
    await beingSetUp(alice)
    const longAgo = new Date(Date.now() - 3 * 3_600_000)
    utimesSync(file, longAgo, longAgo)
    const seen = await withSetUpLock(
      () => machine,
      bob,
      run,
      async () => readFileSync(file, 'utf8'),
    )
    expect(seen).toBe(`${bob}\n`)
  })

  it('releases the machine after Ctrl-C', async () => {
    const ctrl = new AbortController()
    const interrupted = withSetUpLock(
      () => machine,
      alice,
      { ...run, signal: ctrl.signal },
      async () => {
        ctrl.abort()
        throw new Error('interrupted')
      },
    )
    await expect(interrupted).rejects.toThrow('interrupted')
    expect(existsSync(file)).toBe(false)
  })
})
