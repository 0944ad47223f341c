import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { machineRecord } from './machine-record.js'
import { startStoreProcess, startStoreProcessWithoutConf } from './processes.js'
import { schema2 } from './schema-2.js'
import { createLab, operator, storeIn, temporaryFolder, temporaryStore } from './temporary-store.js'

const here = { ...operator, host: hostname() }

describe('a pair of processes', () => {
  it('locks one deployment once: one has it, and the other learns who', async () => {
    const store = await temporaryStore()
    const { uuid } = await createLab(store)
    const contenders = [1, 2, 3, 4].map(() => startStoreProcess('contend', store.root, uuid))
    for (const each of contenders) expect(await each.said()).toBe('ready')
    for (const each of contenders) each.child.stdin.write('go\n')
    const said = await Promise.all(contenders.map((each) => each.said()))
    const winner = contenders[said.indexOf('held')]
    const losers = said.filter((each) => each !== 'held')
    expect(losers).toHaveLength(3)
    for (const loser of losers) {
      expect(loser).toMatchObject({
        exitCode: 5,
        message: expect.stringMatching(
          new RegExp(
            `^deployment 'lab' is locked by bob@${hostname()}, pid ${winner?.child.pid}, since .*: store-process`,
          ),
        ),
        hint: expect.stringContaining('hydra-ops unlock -d lab'),
      })
    }
    winner?.child.stdin.end('end\n')
    expect(await winner?.ended()).toMatchObject({ code: 0 })
    expect((await store.history(uuid)).map(({ event }) => event)).toEqual(['won'])
    expect(readdirSync(store.paths(uuid).root)).not.toContain('lock')
  })

  it('never gives out a port twice', async () => {
    const store = await temporaryStore()
    const each = 8
    const processes = [1, 2, 3].map(() => startStoreProcess('allocate', store.root, String(each)))
    for (const one of processes) expect(await one.said()).toBe('done')
    const ports = (await store.list()).flatMap((record) =>
      Object.values(record.machines).map((machine) => machine.allocation),
    )
    expect(ports).toHaveLength(3 * each)
    expect(new Set(ports).size).toBe(3 * each)
    expect(await store.problems()).toEqual([])
  })

  it('never holds the lock of a dead process together, however often they take it over', async () => {
    const root = temporaryFolder()
    const processes = [1, 2, 3, 4].map(() => startStoreProcess('takeOver', root, '3000', '15'))
    const results = await Promise.all(processes.map((one) => one.said()))
    const seen = z.array(z.object({ won: z.number(), together: z.number() })).parse(results)
    expect(seen.map(({ together }) => together)).toEqual([0, 0, 0, 0])
    expect(Math.min(...seen.map(({ won }) => won))).toBeGreaterThanOrEqual(15)
    expect(readdirSync(root).filter((name) => name.includes('.dead-'))).toEqual([])
  })
})

describe('the lock of a process that was killed with SIGKILL', () => {
  it('is followed by the next one at once on a deployment', async () => {
    const store = await temporaryStore({ operator: here })
    const { uuid } = await createLab(store)
    const holder = startStoreProcess('hold', store.root, uuid)
    expect(await holder.said()).toBe('held')
    await expect(store.lock(uuid, async () => {})).rejects.toMatchObject({ exitCode: 5 })
    holder.child.kill('SIGKILL')
    expect(await holder.ended()).toMatchObject({ signal: 'SIGKILL' })
    expect(await store.lock(uuid, async () => 'ours')).toBe('ours')
    expect(readdirSync(store.paths(uuid).root)).toEqual(['machines', 'state.json', 'state.json.bak'])
  })

  it('is followed by the next one at once on the whole store', async () => {
    const store = await temporaryStore({ operator: here })
    const holder = startStoreProcess('holdStore', store.root)
    expect(await holder.said()).toBe('held')
    holder.child.kill('SIGKILL')
    await holder.ended()
    await createLab(store)
    expect(await store.list()).toHaveLength(1)
  })

  it('counts as free although the exit status was never collected', async () => {
    const store = await temporaryStore({ operator: here })
    const { uuid } = await createLab(store)
    const file = (name: string) => fileURLToPath(new URL(name, import.meta.url))
    const holder = [
      process.execPath,
      file('./run-typescript.mjs'),
      file('./store-process.ts'),
      'hold',
      store.root,
      uuid,
    ]
    // The shell becomes `sleep`, which never waits for the child that it inherits.
    const parent = spawn('sh', ['-c', '"$@" & exec sleep 600', 'sh', ...holder], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    onTestFinished(async () => {
      parent.kill('SIGKILL')
      await once(parent, 'close')
    })
    await once(createInterface({ input: parent.stdout }), 'line')
    const { pid } = JSON.parse(readFileSync(join(store.paths(uuid).root, 'lock', 'holder.json'), 'utf8'))
    process.kill(pid, 'SIGKILL')
    await expect.poll(() => readFileSync(`/proc/${pid}/stat`, 'utf8'), { timeout: 30_000 }).toMatch(/\) Z /)
    expect(await store.lock(uuid, async () => 'ours')).toBe('ours')
  })
})

describe('a process that is killed with SIGKILL after its n-th write', () => {
  it('leaves a store that can be read, locked and swept, at every n', async () => {
    const lastWrite = 7
    for (let n = 1; n <= lastWrite; n += 1) {
      const root = join(temporaryFolder(), 'state')
      const dying = startStoreProcess('life', root, String(n))
      expect(await dying.ended()).toMatchObject({ signal: 'SIGKILL' })
      const store = await storeIn(root, { operator: here })
      expect(await store.problems()).toEqual([])
      const [lab] = await store.list()
      // Write 1 creates the deployment; 2 and 5 are journal lines, 3 and 4 machines. Write 6 removes the deployment, 7
      // is a preference.
      expect(lab === undefined ? 'gone' : Object.keys(lab.machines).sort()).toEqual(
        n >= 6 ? 'gone' : n >= 4 ? ['db', 'web'] : n === 3 ? ['web'] : [],
      )
      expect(await store.preferences()).toEqual(n === 7 ? { maxConcurrent: 3 } : {})
      if (lab !== undefined) await store.lock(lab.uuid, async (held) => held.remove())
      await createLab(store)
      expect(readdirSync(join(root, 'deployments'))).toHaveLength(1)
      expect(readdirSync(root).filter((name) => !['config.json', 'deployments'].includes(name))).toEqual([])
    }
    const whole = startStoreProcess('life', join(temporaryFolder(), 'state'), String(lastWrite + 1))
    expect(await whole.said()).toBe('done')
  })
})

describe('a state of schema 2 whose division is killed with SIGKILL after its n-th write', () => {
  it('is read as it was, or divided, and the same command again ends the work, at every n', async () => {
    // The writes are the folder, three machines, the backup and the state, and then the changed machine.
    const writes = 7
    for (let n = 1; n <= writes; n += 1) {
      const root = join(temporaryFolder(), 'state')
      const folder = join(root, 'deployments', schema2.uuid)
      mkdirSync(folder, { recursive: true })
      cpSync(schema2.file, join(folder, 'state.json'))
      const dying = startStoreProcess('divide', root, schema2.uuid, String(n))
      expect(await dying.ended()).toMatchObject({ signal: 'SIGKILL' })
      const store = await storeIn(root, { operator: here })
      const known = schema2.record(root)
      const added = { ...known.machines, other: machineRecord({ index: 9 }) }
      expect(await store.problems()).toEqual([])
      expect(await store.resolve('lab')).toEqual({
        ...known,
        machines: n === writes ? added : known.machines,
      })
      const again = startStoreProcess('divide', root, schema2.uuid, '0')
      expect(await again.said()).toBe('done')
      expect(await store.resolve('lab')).toEqual({ ...known, machines: added })
    }
  })
})

describe('the library conf', () => {
  it('is loaded only when there are preferences, because it costs as much as all the rest', async () => {
    const root = join(temporaryFolder(), 'state')
    const first = startStoreProcessWithoutConf('life', root, '0')
    expect(await first.ended()).toMatchObject({ code: 0, stderr: '' })
    expect(existsSync(join(root, 'config.json'))).toBe(true)
    const second = startStoreProcessWithoutConf('life', root, '0')
    expect(await second.ended()).toMatchObject({ stderr: expect.stringContaining('conf was loaded') })
  })
})
