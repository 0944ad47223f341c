import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { DeploymentUuid } from '../../src/core/names.js'
import { machineRecord } from './machine-record.js'
import { schema2 } from './schema-2.js'
import { errorOf, fileSnapshot, storeIn, temporaryFolder, web } from './temporary-store.js'

const { uuid } = schema2

/** Creates a state folder as hydra-ops with schema 2 left it, and opens its store. */
async function older() {
  const root = join(temporaryFolder(), 'state')
  const folder = join(root, 'deployments', uuid)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  cpSync(schema2.file, join(folder, 'state.json'))
  return { root, folder, store: await storeIn(root) }
}

const filesOf = (folder: string) =>
  readdirSync(join(folder, 'machines'))
    .filter((name) => name.endsWith('.json'))
    .sort()

describe('a state of schema 2', () => {
  it('is read unchanged, and reading leaves every file as it was', async () => {
    const { root, store } = await older()
    const before = fileSnapshot(root)
    const record = await store.resolve('lab')
    expect(record).toEqual(schema2.record(root))
    expect(await store.list()).toEqual([record])
    expect(await store.problems()).toEqual([])
    await store.lock(uuid, async (session) => {
      await session.updateMachine(web, () => {})
      await session.updateDeployment(() => {})
    })
    expect(fileSnapshot(root)).toEqual(before)
  })

  it.each(['a machine', 'the deployment', 'a new machine'] as const)(
    'is divided by the first write, of %s, and nothing of it is lost',
    async (written) => {
      const { root, folder, store } = await older()
      const wanted = schema2.record(root)
      await store.lock(uuid, async (session) => {
        if (written === 'a machine')
          await session.updateMachine(web, (draft) => Object.assign(draft, { keys: {} }))
        else if (written === 'the deployment')
          await session.updateDeployment((draft) => Object.assign(draft, { description: 'new' }))
        else await session.putMachine(schema2.other, machineRecord({ index: 9 }))
      })
      if (written === 'a machine') Object.assign(wanted.machines[web] ?? {}, { keys: {} })
      else if (written === 'the deployment') wanted.description = 'new'
      else wanted.machines[schema2.other] = machineRecord({ index: 9 })
      expect(await (await storeIn(root)).resolve('lab')).toEqual(wanted)
      expect(filesOf(folder)).toEqual(
        Object.keys(wanted.machines)
          .map((name) => `${name}.json`)
          .sort(),
      )
      expect(readFileSync(join(folder, 'state.json.schema-2'))).toEqual(readFileSync(schema2.file))
    },
  )

  it('is divided once by simultaneous writes', async () => {
    const { root, store } = await older()
    const names = Object.keys(schema2.record(root).machines)
    await store.lock(uuid, (session) =>
      Promise.all([
        ...names.map((name) =>
          session.updateMachine(schema2.machine(name), (draft) => Object.assign(draft, { hostKey: name })),
        ),
        session.updateDeployment((draft) => Object.assign(draft, { description: 'new' })),
      ]),
    )
    const { machines, description } = await (await storeIn(root)).resolve('lab')
    expect(Object.entries(machines).map(([name, { hostKey }]) => [name, hostKey])).toEqual(
      names.map((name) => [name, name]),
    )
    expect(description).toBe('new')
  })

  it('takes nothing from the leftovers of an interrupted division', async () => {
    const { root, folder, store } = await older()
    mkdirSync(join(folder, 'machines'))
    for (const name of ['web.json', 'stranger.json', 'stranger.json.bak'])
      writeFileSync(join(folder, 'machines', name), 'half')
    expect(await store.resolve('lab')).toEqual(schema2.record(root))
    await store.lock(uuid, (session) => session.putMachine(schema2.other, machineRecord({ index: 9 })))
    expect(filesOf(folder)).not.toContain('stranger.json')
    expect(await store.problems()).toEqual([])
  })

  it('has a backup of its own form, so that no old machine comes back with it', async () => {
    const { folder, store } = await older()
    await store.lock(uuid, (session) => session.putMachine(schema2.other, machineRecord({ index: 9 })))
    writeFileSync(join(folder, 'state.json'), 'cut o')
    const damaged = await errorOf(() => store.resolve('lab'))
    expect(damaged).toMatchObject({ hint: expect.stringContaining('cp -p') })
    cpSync(join(folder, 'state.json.bak'), join(folder, 'state.json'))
    expect(Object.keys((await store.resolve('lab')).machines)).toContain('other')
  })

  it('is not divided by a command that lost its lock, or with a changed file', async () => {
    const { root, folder, store } = await older()
    await store.lock(uuid, async (session) => {
      await store.unlock(DeploymentUuid.parse(uuid))
      const before = fileSnapshot(root)
      const write = () => session.putMachine(schema2.other, machineRecord({ index: 9 }))
      expect(await errorOf(write)).toMatchObject({ exitCode: 5 })
      writeFileSync(join(folder, 'state.json'), 'cut o')
      expect(await errorOf(write)).toMatchObject({ code: 'STATE_DAMAGED' })
      cpSync(schema2.file, join(folder, 'state.json'))
      expect(fileSnapshot(root).map((line) => line.split(' ')[0])).toEqual(
        before.map((line) => line.split(' ')[0]),
      )
    })
  })
})
