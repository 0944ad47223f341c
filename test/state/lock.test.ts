import { existsSync, mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { DeploymentUuid } from '../../src/core/names.js'
import { claimOf, describeHolder, type Holder } from '../../state/holder.js'
import { removeLock, tryLock } from '../../state/lock.js'
import { createStoreLock } from '../../state/store-lock.js'
import { createLab, errorOf, operator, temporaryFolder, temporaryStore } from './temporary-store.js'

const now = new Date('2026-11-21T10:15:00Z')
const other = { user: 'bob', host: operator.host, command: 'hydra-ops destroy -d lab', run: 'run-2' }

async function take(folder: string) {
  const attempt = await tryLock(folder, operator, now)
  if (attempt.kind === 'busy') throw new Error('the lock was busy')
  return attempt.lock
}

/** Writes the lock of another process on this host; `differs` overrides fields of the lock. */
function lockOf(folder: string, differs: Partial<Holder>): void {
  mkdirSync(folder)
  writeFileSync(
    join(folder, 'holder.json'),
    JSON.stringify({ ...claimOf(other, 'their-claim', now), ...differs }),
  )
}

describe('a lock', () => {
  it('is held by one, until it is released', async () => {
    const folder = join(temporaryFolder(), 'lock')
    const lock = await take(folder)
    expect(lock.isOurs()).toBe(true)
    expect(await tryLock(folder, other, now)).toMatchObject({
      kind: 'busy',
      holder: { user: 'alice', pid: process.pid },
    })
    await lock.release()
    expect(existsSync(folder)).toBe(false)
    expect((await tryLock(folder, other, now)).kind).toBe('held')
    expect(lock.isOurs()).toBe(false)
    await lock.release()
    expect(await tryLock(folder, operator, now)).toMatchObject({ kind: 'busy', holder: { user: 'bob' } })
  })

  it('leaves nothing else beside it when it is taken, refused or released', async () => {
    const parent = temporaryFolder()
    const folder = join(parent, 'lock')
    const lock = await take(folder)
    await tryLock(folder, other, now)
    expect(readdirSync(parent)).toEqual(['lock'])
    await lock.release()
    expect(readdirSync(parent)).toEqual([])
  })

  it('describes its holder in full', () => {
    const holder = claimOf(operator, 'n', now)
    expect(describeHolder(holder)).toBe(
      `alice@build1, pid ${process.pid}, since 2026-11-21 10:15:00 UTC: hydra-ops deploy -d lab`,
    )
  })

  it('is removed whatever its holder, and not missed when it does not exist', async () => {
    const folder = join(temporaryFolder(), 'lock')
    expect(await removeLock(folder)).toBeUndefined()
    await take(folder)
    expect(await removeLock(folder)).toMatchObject({ user: 'alice' })
    mkdirSync(folder)
    writeFileSync(join(folder, 'holder.json'), '{"us')
    expect(await tryLock(folder, operator, now)).toEqual({ kind: 'busy', holder: undefined })
    expect(await removeLock(folder)).toBe('unknown')
    expect((await tryLock(folder, operator, now)).kind).toBe('held')
  })

  it('fails in one sentence when it cannot be made', async () => {
    const folder = join(temporaryFolder(), 'gone', 'lock')
    expect(await errorOf(() => tryLock(folder, operator, now))).toMatchObject({
      name: 'OpsError',
      exitCode: 1,
      message: expect.stringContaining(`cannot create the lock ${folder}`),
    })
  })
})

describe('the lock of another process', () => {
  const day = 24 * 3_600_000
  const ago = (ms: number) => new Date(now.getTime() - ms).toISOString()
  const otherBoot = '00000000-0000-4000-8000-000000000000'

  it.each<[string, Partial<Holder>]>([
    ['whose pid is gone', { pid: 4_194_305 }],
    ['whose pid belongs to a later process', { startTime: '1' }],
    ['that ran before this host was restarted', { bootId: otherBoot }],
    ['on another host, a day old', { host: 'build2', bootId: otherBoot, since: ago(day + 1000) }],
    ['in another container, a day old', { pidNamespace: 'pid:[1]', since: ago(day + 1000) }],
  ])('is taken over at once: %s', async (_, differs) => {
    const parent = temporaryFolder()
    const folder = join(parent, 'lock')
    lockOf(folder, differs)
    expect((await take(folder)).isOurs()).toBe(true)
    expect(readdirSync(parent)).toEqual(['lock'])
  })

  it.each<[string, Partial<Holder>]>([
    ['that lives', {}],
    [
      'on another host, not a day old',
      { host: 'build2', bootId: otherBoot, pid: 4_194_305, since: ago(day - 1000) },
    ],
    [
      'in another container, not a day old',
      { pidNamespace: 'pid:[1]', pid: 4_194_305, since: ago(day - 1000) },
    ],
  ])('is left alone: %s', async (_, differs) => {
    const folder = join(temporaryFolder(), 'lock')
    lockOf(folder, differs)
    const before = readFileSync(join(folder, 'holder.json'), 'utf8')
    expect(await tryLock(folder, operator, now)).toMatchObject({ kind: 'busy', holder: { user: 'bob' } })
    expect(readFileSync(join(folder, 'holder.json'), 'utf8')).toBe(before)
  })

  it('is left to a process that already takes it over when its holder is dead', async () => {
    const folder = join(temporaryFolder(), 'lock')
    lockOf(folder, { pid: 4_194_305 })
    lockOf(`${folder}.dead-their-claim`, { nonce: 'guard' })
    expect(await tryLock(folder, operator, now)).toMatchObject({ kind: 'busy', holder: { nonce: 'guard' } })
  })

  it('is taken over although the process that was taking it over died as well', async () => {
    const parent = temporaryFolder()
    const folder = join(parent, 'lock')
    lockOf(folder, { pid: 4_194_305 })
    lockOf(`${folder}.dead-their-claim`, { nonce: 'guard', pid: 4_194_305 })
    expect((await take(folder)).isOurs()).toBe(true)
    expect(readdirSync(parent)).toEqual(['lock'])
  })
})

describe('the lock of a deployment', () => {
  it('names its holder to the next process, with the way out', async () => {
    const store = await temporaryStore()
    const { uuid } = await createLab(store)
    await store.lock(uuid, async () => {
      expect(await errorOf(() => store.lock(uuid, async () => {}))).toMatchObject({
        exitCode: 5,
        message: expect.stringMatching(
          /^deployment 'lab' is locked by alice@build1, pid \d+, since .* UTC: hydra-ops deploy -d lab$/,
        ),
        hint: expect.stringContaining('hydra-ops unlock -d lab'),
      })
    })
  })

  it('is released when the action fails', async () => {
    const store = await temporaryStore()
    const { uuid } = await createLab(store)
    const failing = store.lock(uuid, async () => {
      throw new Error('it failed')
    })
    await expect(failing).rejects.toThrow('it failed')
    expect(await store.lock(uuid, async () => 'again')).toBe('again')
  })

  it('is not made when there is no deployment', async () => {
    const store = await temporaryStore()
    const { uuid } = await createLab(await temporaryStore())
    expect(await errorOf(() => store.lock(uuid, async () => {}))).toMatchObject({ exitCode: 1 })
    expect(existsSync(store.root)).toBe(false)
    expect(await store.unlock(uuid)).toBeUndefined()
  })

  it('gives its holder the right to remove the leftovers of crashed processes, and nothing else', async () => {
    const store = await temporaryStore()
    const { uuid } = await createLab(store)
    const { root } = store.paths(uuid)
    const left = ['state.json.0123456789ab.tmp', 'state.json.bak.0123456789ab.tmp']
    const kept = ['known_hosts', 'notes.0123456789ab.tmp', 'state.json.mine', 'state.json.bak.old']
    for (const name of [...left, ...kept]) writeFileSync(join(root, name), '')
    const drafts = ['lock.0123456789ab.tmp', 'lock.ba9876543210.tmp']
    for (const name of drafts) mkdirSync(join(root, name))
    const hourAgo = Date.now() / 1000 - 3600
    utimesSync(join(root, 'lock.0123456789ab.tmp'), hourAgo, hourAgo)
    const machines = join(root, 'machines')
    const drafted = ['web.json.0123456789ab.tmp', 'web.json.bak.0123456789ab.tmp']
    for (const name of [...drafted, 'notes']) writeFileSync(join(machines, name), '')
    await store.lock(uuid, async () => {})
    expect(readdirSync(machines)).toEqual(['notes'])
    expect(readdirSync(root).sort()).toEqual(
      [...kept, 'lock.ba9876543210.tmp', 'machines', 'state.json', 'state.json.bak'].sort(),
    )
  })
})

describe('the lock of the whole store', () => {
  /** The limits allow for a busy disk. */
  const patience = { timeout: 20_000 }
  const elsewhere = DeploymentUuid.parse('0b7c3d1e-1111-4a2b-9c3d-000000000001')
  const run = (signal = new AbortController().signal) => {
    const lines: string[] = []
    return { signal, lines, log: (line: string) => void lines.push(line) }
  }

  it('is waited for, and passed on in turn', async () => {
    const store = await temporaryStore()
    const order: string[] = []
    let finish = () => {}
    const first = store.allocating(elsewhere, run(), async () => {
      order.push('first in')
      await new Promise<void>((resolve) => {
        finish = resolve
      })
      order.push('first out')
    })
    await expect.poll(() => order, patience).toEqual(['first in'])
    const waiting = run()
    const second = store.allocating(elsewhere, waiting, async () => {
      order.push('second in')
    })
    await expect
      .poll(() => waiting.lines, patience)
      .toEqual([expect.stringContaining('in use by alice@build1')])
    finish()
    await Promise.all([first, second])
    expect(order).toEqual(['first in', 'first out', 'second in'])
  })

  it('is waited for only for a limited time, and the error names the holder', async () => {
    const root = temporaryFolder()
    const waits = { waitMs: 60 }
    const holder = createStoreLock(root, operator, () => now, waits)
    const loser = createStoreLock(root, other, () => now, waits)
    await holder.during(run(), async () => {
      expect(await errorOf(() => loser.during(run(), async () => {}))).toMatchObject({
        exitCode: 5,
        message: expect.stringMatching(
          /in use for 0\.06 s by alice@build1, pid \d+, since .*: hydra-ops deploy/,
        ),
        hint: expect.stringContaining(join(root, 'lock')),
      })
    })
    expect(await loser.during(run(), async () => 'free')).toBe('free')
  })

  it('is not waited for after Ctrl-C', async () => {
    const store = await temporaryStore()
    const pressed = new AbortController()
    const waiting = run(pressed.signal)
    await store.allocating(elsewhere, run(), async () => {
      const second = errorOf(() => store.allocating(elsewhere, waiting, async () => {}))
      await expect.poll(() => waiting.lines, patience).toHaveLength(1)
      pressed.abort()
      expect(await second).toMatchObject({ exitCode: 130 })
    })
  })

  it('shows the allocations of every deployment, also of a deployment with a state damaged since', async () => {
    const store = await temporaryStore()
    const { uuid } = await createLab(store)
    await createLab(store, 'prod')
    await store.lock(uuid, async (held) => {
      for (const description of ['the last good one', 'the newest'])
        await held.updateDeployment((draft) => Object.assign(draft, { description }))
    })
    writeFileSync(join(store.paths(uuid).root, 'state.json'), 'cut o')
    const seen = await store.allocating(elsewhere, run(), async (all) =>
      all.map((record) => record.description ?? record.name),
    )
    expect(seen.sort()).toEqual(['prod', 'the last good one'])
  })
})
