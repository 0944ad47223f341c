import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { DeploymentName } from '../../src/core/names.js'
import { createStore } from '../../state/store.js'
import { machineRecord } from './machine-record.js'
import {
  createLab,
  errorOf,
  operator,
  snapshot,
  stateFile,
  temporaryFolder,
  temporaryStore,
  web,
} from './temporary-store.js'

describe('reading', () => {
  it('makes nothing, not even the folder', async () => {
    const store = await temporaryStore()
    expect(store.list()).toEqual([])
    expect(store.problems()).toEqual([])
    expect(store.preferences()).toEqual({})
    expect(() => store.resolve(undefined)).toThrow('there is no deployment yet')
    expect(() => store.resolve('lab')).toThrow("there is no deployment 'lab'")
    expect(existsSync(store.root)).toBe(false)
  })

  it('writes nothing to what is there', async () => {
    const store = await temporaryStore()
    const { uuid } = createLab(store)
    store.setPreferences({ deployment: 'lab' })
    await store.lock(uuid, async (held) => held.journal({ event: 'deploy.begin' }))
    const before = snapshot(store.root)
    const again = await createStore({ root: store.root, operator, env: {} })
    expect(again.resolve(undefined).name).toBe('lab')
    expect(again.resolve(uuid)).toEqual(again.list()[0])
    expect(again.history(uuid)).toHaveLength(1)
    expect(again.problems()).toEqual([])
    expect(again.unlock(uuid)).toBeUndefined()
    expect(snapshot(store.root)).toEqual(before)
  })
})

describe('creating', () => {
  it('gives a new record that every later process reads back the same', async () => {
    const store = await temporaryStore({ now: () => new Date('2026-11-21T10:15:00Z') })
    const record = createLab(store)
    expect(record).toMatchObject({ name: 'lab', createdAt: '2026-11-21T10:15:00.000Z', machines: {} })
    const again = await createStore({ root: store.root, operator, env: {} })
    expect(again.list()).toEqual([record])
  })

  it('keeps files for the user alone, with a schema version and a revision', async () => {
    const store = await temporaryStore()
    const file = stateFile(store, createLab(store))
    expect(statSync(file).mode & 0o777).toBe(0o600)
    for (const folder of [dirname(file), dirname(dirname(file)), store.root]) {
      expect(statSync(folder).mode & 0o777).toBe(0o700)
    }
    expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({ schemaVersion: 2, revision: 0 })
  })

  it('refuses a name that is taken, also by a deployment whose state is damaged', async () => {
    const store = await temporaryStore()
    const record = createLab(store)
    const before = snapshot(store.root).length
    const taken = {
      exitCode: 2,
      message: expect.stringContaining("'lab' already"),
      hint: expect.stringContaining('modify'),
    }
    expect(await errorOf(() => createLab(store))).toMatchObject(taken)
    await store.lock(record.uuid, async (held) =>
      held.update((draft) => {
        draft.description = 'x'
      }),
    )
    writeFileSync(stateFile(store, record), 'cut o')
    expect(await errorOf(() => createLab(store))).toMatchObject(taken)
    expect(snapshot(store.root).length).toBe(before + 1)
  })

  it('keeps paths relative inside a checkout and hands them out absolute, wherever it is cloned to', async () => {
    const checkout = temporaryFolder()
    mkdirSync(join(checkout, '.git'))
    const store = await temporaryStore({ root: join(checkout, 'state') })
    const record = store.create({
      name: undefined,
      expressions: [join(checkout, 'hydra.nix'), '/srv/other.nix'],
      searchPath: [`mine=${join(checkout, 'nix')}`, 'nixpkgs=/srv/nixpkgs'],
      args: {},
    })
    const text = readFileSync(stateFile(store, record), 'utf8')
    expect(text).not.toContain(checkout)
    expect(text).not.toContain(operator.host)
    const again = await createStore({ root: store.root, operator, env: {} })
    expect(again.resolve(record.uuid)).toEqual(record)
  })
})

describe('resolving', () => {
  const three = async (env = {}) => {
    const store = await temporaryStore({ env })
    return { store, lab: createLab(store), prod: createLab(store, 'prod'), nameless: createNameless(store) }
  }
  const createNameless = (store: Awaited<ReturnType<typeof temporaryStore>>) =>
    store.create({ name: undefined, expressions: [], searchPath: [], args: {} })

  it('goes by name, by UUID in any case, and by the beginning of a UUID', async () => {
    const { store, lab, nameless } = await three()
    expect(store.resolve('lab').uuid).toBe(lab.uuid)
    expect(store.resolve(nameless.uuid).uuid).toBe(nameless.uuid)
    expect(store.resolve(lab.uuid.toUpperCase()).uuid).toBe(lab.uuid)
    expect(store.resolve(nameless.uuid.slice(0, 13)).uuid).toBe(nameless.uuid)
  })

  it('does not take three letters for a UUID', async () => {
    const { store, lab } = await three()
    expect(await errorOf(() => store.resolve(lab.uuid.slice(0, 3)))).toMatchObject({ exitCode: 2 })
  })

  it('lists what an ambiguous beginning may mean', async () => {
    const store = await temporaryStore()
    const lab = createLab(store)
    const twin = lab.uuid.replace(/.$/, (last) => (last === '0' ? '1' : '0'))
    const folder = join(dirname(store.paths(lab.uuid).root), twin)
    mkdirSync(folder)
    writeFileSync(
      join(folder, 'state.json'),
      readFileSync(stateFile(store, lab), 'utf8').replace(lab.uuid, twin).replace('"lab"', '"prod"'),
    )
    expect(await errorOf(() => store.resolve(lab.uuid.slice(0, 8)))).toMatchObject({
      exitCode: 2,
      message: expect.stringMatching(/means more than one deployment: lab \(.*, prod \(/),
    })
    expect(store.resolve(twin).name).toBe('prod')
  })

  it('suggests the name that was meant, else says what there is', async () => {
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

  it('without a reference takes the environment, then the preference, then the only one', async () => {
    const single = await temporaryStore()
    const only = createLab(single)
    expect(single.resolve(undefined).uuid).toBe(only.uuid)

    const { store, prod } = await three()
    expect(await errorOf(() => store.resolve(undefined))).toMatchObject({
      exitCode: 2,
      message: expect.stringMatching(/there are 3 deployments.*lab.*prod/),
    })
    store.setPreferences({ deployment: 'prod' })
    expect(store.resolve(undefined).uuid).toBe(prod.uuid)
    const named = await createStore({ root: store.root, operator, env: { HYDRA_OPS_DEPLOYMENT: 'lab' } })
    expect(named.resolve(undefined).name).toBe('lab')
    expect(named.resolve('prod').name).toBe('prod')
  })

  it('says where a name came from that nobody has just typed', async () => {
    const { store } = await three({ HYDRA_OPS_DEPLOYMENT: 'gone' })
    expect(() => store.resolve(undefined)).toThrow('(named by HYDRA_OPS_DEPLOYMENT)')
  })
})

describe('preferences', () => {
  it('are what was set, also for the next process', async () => {
    const store = await temporaryStore()
    const preferences = { deployment: 'web.example.com', plugins: ['hydra-ops-fly'], maxConcurrent: 4 }
    store.setPreferences(preferences)
    expect(store.preferences()).toEqual(preferences)
    expect(statSync(join(store.root, 'config.json')).mode & 0o777).toBe(0o600)
    const again = await createStore({ root: store.root, operator, env: {} })
    expect(again.preferences()).toEqual(preferences)
    again.setPreferences({})
    expect((await createStore({ root: store.root, operator, env: {} })).preferences()).toEqual({})
  })

  it.each([
    ['cut off', '{"deployment": "la'],
    ['of the wrong type', '{"maxConcurrent": "many"}'],
    ['unknown', '{"deploymnet": "lab"}'],
  ])('that are %s stop only who needs one, are said, and are not wiped', async (_, text) => {
    const store = await temporaryStore()
    const record = createLab(store)
    const file = join(store.root, 'config.json')
    writeFileSync(file, text)
    const again = await createStore({ root: store.root, operator, env: {} })
    expect(again.resolve('lab').uuid).toBe(record.uuid)
    expect(await errorOf(() => again.resolve(undefined))).toMatchObject({
      code: 'CONFIG_DAMAGED',
      exitCode: 1,
      message: expect.stringContaining(file),
      hint: expect.stringContaining(`rm ${file}`),
    })
    expect(readFileSync(file, 'utf8')).toBe(text)
  })
})

describe('writing', () => {
  it('counts every durable write, one by one', async () => {
    const writes: number[] = []
    const store = await temporaryStore({ onWrite: (n) => writes.push(n) })
    const { uuid } = createLab(store)
    await store.lock(uuid, async (held) => {
      held.journal({ event: 'deploy.begin' })
      held.update((draft) => {
        draft.machines[web] = machineRecord()
      })
      held.remove()
    })
    expect(writes).toEqual([1, 2, 3, 4])
  })

  it('is refused where the state folder cannot be made', async () => {
    const file = join(temporaryFolder(), 'file')
    writeFileSync(file, '')
    const store = await createStore({ root: join(file, 'state'), operator, env: {} })
    expect(await errorOf(() => createLab(store))).toMatchObject({ name: 'OpsError', exitCode: 1 })
  })

  it('sweeps half-made and half-removed deployments of crashed processes', async () => {
    const store = await temporaryStore()
    const { uuid } = createLab(store)
    const deployments = dirname(store.paths(uuid).root)
    for (const name of [`.new-${uuid}`, `.removed-${uuid}`])
      mkdirSync(join(deployments, name, 'disks'), { recursive: true })
    expect(store.list()).toHaveLength(1)
    store.create({ name: DeploymentName.parse('prod'), expressions: [], searchPath: [], args: {} })
    expect(snapshot(deployments).filter((line) => line.includes('/.'))).toEqual([])
  })
})
