import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { DeploymentName } from '../../src/core/names.js'
import { machineRecord } from './machine-record.js'
import {
  createLab,
  errorOf,
  operator,
  snapshot,
  stateFile,
  storeIn,
  temporaryFolder,
  temporaryStore,
  web,
} from './temporary-store.js'

describe('a read of the store', () => {
  it('creates nothing, not even the folder', async () => {
    const store = await temporaryStore()
    expect(await store.list()).toEqual([])
    expect(await store.problems()).toEqual([])
    expect(await store.preferences()).toEqual({})
    await expect(store.resolve(undefined)).rejects.toThrow('there is no deployment yet')
    await expect(store.resolve('lab')).rejects.toThrow("there is no deployment 'lab'")
    expect(existsSync(store.root)).toBe(false)
  })

  it('writes nothing to an existing store', async () => {
    const store = await temporaryStore()
    const { uuid } = await createLab(store)
    await store.setPreferences({ deployment: 'lab' })
    await store.lock(uuid, async (held) => held.journal({ event: 'deploy.begin' }))
    const before = snapshot(store.root)
    const again = await storeIn(store.root)
    expect((await again.resolve(undefined)).name).toBe('lab')
    expect(await again.resolve(uuid)).toEqual((await again.list())[0])
    expect(await again.history(uuid)).toHaveLength(1)
    expect(await again.problems()).toEqual([])
    expect(await again.unlock(uuid)).toBeUndefined()
    expect(snapshot(store.root)).toEqual(before)
  })
})

describe('the creation of a deployment', () => {
  it('gives a new record that every later process reads back the same', async () => {
    const store = await temporaryStore({ now: () => new Date('2026-11-21T10:15:00Z') })
    const record = await createLab(store)
    expect(record).toMatchObject({ name: 'lab', createdAt: '2026-11-21T10:15:00.000Z', machines: {} })
    const again = await storeIn(store.root)
    expect(await again.list()).toEqual([record])
  })

  it('keeps files for the user alone, with a schema version and a revision', async () => {
    const store = await temporaryStore()
    const file = stateFile(store, await createLab(store))
    expect(statSync(file).mode & 0o777).toBe(0o600)
    for (const folder of [dirname(file), dirname(dirname(file)), store.root]) {
      expect(statSync(folder).mode & 0o777).toBe(0o700)
    }
    expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({ schemaVersion: 5, revision: 0 })
  })

  it('refuses a taken name, also that of a deployment with a damaged state', async () => {
    const store = await temporaryStore()
    const record = await createLab(store)
    const before = snapshot(store.root).length
    const taken = {
      exitCode: 2,
      message: expect.stringContaining("'lab' exists already"),
      hint: expect.stringContaining('modify'),
    }
    expect(await errorOf(() => createLab(store))).toMatchObject(taken)
    await store.lock(
      record.uuid,
      async (held) => await held.updateDeployment((draft) => Object.assign(draft, { description: 'x' })),
    )
    writeFileSync(stateFile(store, record), 'cut o')
    expect(await errorOf(() => createLab(store))).toMatchObject(taken)
    expect(snapshot(store.root).length).toBe(before)
  })

  it('keeps paths relative inside a checkout and returns them absolute, wherever it is cloned to', async () => {
    const checkout = temporaryFolder()
    mkdirSync(join(checkout, '.git'))
    const store = await storeIn(join(checkout, 'state'))
    const record = await store.create({
      name: undefined,
      expressions: [join(checkout, 'hydra.nix'), '/srv/other.nix'],
      searchPath: [`mine=${join(checkout, 'nix')}`, 'nixpkgs=/srv/nixpkgs'],
      args: {},
    })
    const text = readFileSync(stateFile(store, record), 'utf8')
    expect(text).not.toContain(checkout)
    expect(text).not.toContain(operator.host)
    const again = await storeIn(store.root)
    expect(await again.resolve(record.uuid)).toEqual(record)
  })
})

describe('the resolution of a reference', () => {
  const three = async (env = {}) => {
    const store = await temporaryStore({ env })
    const [lab, prod] = [await createLab(store), await createLab(store, 'prod')]
    return { store, lab, prod, nameless: await createNameless(store) }
  }
  const createNameless = async (store: Awaited<ReturnType<typeof temporaryStore>>) =>
    await store.create({ name: undefined, expressions: [], searchPath: [], args: {} })

  it('accepts a name, a UUID in any case, and the beginning of a UUID', async () => {
    const { store, lab, nameless } = await three()
    expect((await store.resolve('lab')).uuid).toBe(lab.uuid)
    expect((await store.resolve(nameless.uuid)).uuid).toBe(nameless.uuid)
    expect((await store.resolve(lab.uuid.toUpperCase())).uuid).toBe(lab.uuid)
    expect((await store.resolve(nameless.uuid.slice(0, 13))).uuid).toBe(nameless.uuid)
  })

  it('does not accept three letters as a UUID', async () => {
    const { store, lab } = await three()
    expect(await errorOf(() => store.resolve(lab.uuid.slice(0, 3)))).toMatchObject({ exitCode: 2 })
  })

  it('lists the possible meanings of an ambiguous beginning', async () => {
    const store = await temporaryStore()
    const lab = await createLab(store)
    const twin = lab.uuid.replace(/.$/, (last) => (last === '0' ? '1' : '0'))
    const folder = join(dirname(store.paths(lab.uuid).root), twin)
    mkdirSync(join(folder, 'machines'), { recursive: true })
    writeFileSync(
      join(folder, 'state.json'),
      readFileSync(stateFile(store, lab), 'utf8').replace(lab.uuid, twin).replace('"lab"', '"prod"'),
    )
    expect(await errorOf(() => store.resolve(lab.uuid.slice(0, 8)))).toMatchObject({
      exitCode: 2,
      message: expect.stringMatching(/matches more than one deployment: lab \(.*, prod \(/),
    })
    expect((await store.resolve(twin)).name).toBe('prod')
  })

  it('suggests the intended name, or otherwise lists the existing ones', async () => {
    const { store, nameless } = await three()
    expect(await errorOf(() => store.resolve('lba'))).toMatchObject({
      exitCode: 2,
      hint: "did you mean 'lab'?",
    })
    expect(await errorOf(() => store.resolve('frobnicate'))).toMatchObject({
      hint: expect.stringMatching(/lab \(.*prod \(/),
    })
    expect(await errorOf(() => store.resolve('frobnicate'))).toMatchObject({
      hint: expect.stringContaining(nameless.uuid),
    })
  })

  it('uses without a reference the environment, then the preference, then the only one', async () => {
    const single = await temporaryStore()
    const only = await createLab(single)
    expect((await single.resolve(undefined)).uuid).toBe(only.uuid)

    const { store, prod } = await three()
    expect(await errorOf(() => store.resolve(undefined))).toMatchObject({
      exitCode: 2,
      message: expect.stringMatching(/there are 3 deployments.*lab.*prod/),
    })
    await store.setPreferences({ deployment: 'prod' })
    expect((await store.resolve(undefined)).uuid).toBe(prod.uuid)
    const named = await storeIn(store.root, { env: { HYDRA_OPS_DEPLOYMENT: 'lab' } })
    expect((await named.resolve(undefined)).name).toBe('lab')
    expect((await named.resolve('prod')).name).toBe('prod')
  })

  it('names the source of a name that was not typed', async () => {
    const { store } = await three({ HYDRA_OPS_DEPLOYMENT: 'gone' })
    await expect(store.resolve(undefined)).rejects.toThrow('(named by HYDRA_OPS_DEPLOYMENT)')
  })
})

describe('the file of preferences', () => {
  it('keeps the set values, also for the next process', async () => {
    const store = await temporaryStore()
    const preferences = { deployment: 'web.example.com', plugins: ['hydra-ops-fly'], maxConcurrent: 4 }
    await store.setPreferences(preferences)
    expect(await store.preferences()).toEqual(preferences)
    expect(statSync(join(store.root, 'config.json')).mode & 0o777).toBe(0o600)
    const again = await storeIn(store.root)
    expect(await again.preferences()).toEqual(preferences)
    await again.setPreferences({})
    expect(await (await storeIn(store.root)).preferences()).toEqual({})
  })

  it.each([
    ['cut off', '{"deployment": "la'],
    ['of the wrong type', '{"maxConcurrent": "many"}'],
    ['unknown', '{"deploymnet": "lab"}'],
  ])('stops when it is %s only commands that need it, is reported, and is not wiped', async (_, text) => {
    const store = await temporaryStore()
    const record = await createLab(store)
    const file = join(store.root, 'config.json')
    writeFileSync(file, text)
    const again = await storeIn(store.root)
    expect((await again.resolve('lab')).uuid).toBe(record.uuid)
    expect(await errorOf(() => again.resolve(undefined))).toMatchObject({
      code: 'CONFIG_DAMAGED',
      exitCode: 1,
      message: expect.stringContaining(file),
      hint: expect.stringContaining(`rm ${file}`),
    })
    expect(readFileSync(file, 'utf8')).toBe(text)
  })
})

describe('a write to the store', () => {
  it('counts every durable write, one by one', async () => {
    const writes: number[] = []
    const store = await temporaryStore({ onWrite: (n) => writes.push(n) })
    const { uuid } = await createLab(store)
    await store.lock(uuid, async (held) => {
      await held.journal({ event: 'deploy.begin' })
      await held.putMachine(web, machineRecord())
      await held.remove()
    })
    expect(writes).toEqual([1, 2, 3, 4])
  })

  it('is refused when the state folder cannot be made', async () => {
    const file = join(temporaryFolder(), 'file')
    writeFileSync(file, '')
    const store = await storeIn(join(file, 'state'))
    expect(await errorOf(() => createLab(store))).toMatchObject({ name: 'OpsError', exitCode: 1 })
  })

  it('removes half-made and half-removed deployments of crashed processes', async () => {
    const store = await temporaryStore()
    const { uuid } = await createLab(store)
    const deployments = dirname(store.paths(uuid).root)
    for (const name of [`.new-${uuid}`, `.removed-${uuid}`])
      mkdirSync(join(deployments, name, 'disks'), { recursive: true })
    expect(await store.list()).toHaveLength(1)
    await store.create({ name: DeploymentName.parse('prod'), expressions: [], searchPath: [], args: {} })
    expect(snapshot(deployments).filter((line) => line.includes('/.'))).toEqual([])
  })
})
