import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import * as z from 'zod'
import { migrate } from '../../state/migrations.js'
import { schema2 } from './schema-2.js'
import { schema3 } from './schema-3.js'
import { fileSnapshot, storeIn, temporaryFolder } from './temporary-store.js'

const { uuid, web, db } = schema3

const MachineFile = z.looseObject({
  schemaVersion: z.number(),
  machine: z.looseObject({ tasks: z.record(z.string(), z.unknown()) }),
})

/** Creates a state folder as hydra-ops with schema 3 left it. */
async function older() {
  const root = join(temporaryFolder(), 'state')
  const folder = join(root, 'deployments', uuid)
  schema3.copyTo(folder)
  const file = (name: string) => join(folder, 'machines', `${name}.json`)
  const read = (name: string) => MachineFile.parse(JSON.parse(readFileSync(file(name), 'utf8')))
  return { root, folder, file, read, store: await storeIn(root) }
}

const newNames = ['nix', 'hydra-accounts', 'postgresql', 'cache-key', 'hydra', 'admin-user', 'hydra-proof']

describe('a state of schema 3', () => {
  it('has the records of its tasks under their present names, and nothing else differs', async () => {
    const { root, read, store } = await older()
    const before = fileSnapshot(root)
    const { 'hydra-users': accounts, 'hydra-probe': proof, ...others } = read('web').machine.tasks
    const { machines } = await store.resolve('lab')
    expect(Object.keys(machines[web]?.tasks ?? {})).toEqual(newNames)
    expect(machines[web]?.tasks).toEqual({ ...others, 'hydra-accounts': accounts, 'hydra-proof': proof })
    expect({ ...machines[web], tasks: {}, handle: {} }).toEqual({
      ...read('web').machine,
      tasks: {},
      handle: {},
    })
    expect(machines[db]?.stoppedOnPurpose).toBe(read('db').machine.stoppedOnPurpose)
    expect(Object.keys(machines)).toEqual(['web', 'db', 'web.json'])
    expect(await store.problems()).toEqual([])
    expect(fileSnapshot(root)).toEqual(before)
  })

  it('is of the present schema file by file, as each is written', async () => {
    const { root, folder, file, read, store } = await older()
    const untouched = readFileSync(file('db'), 'utf8')
    const head = readFileSync(join(folder, 'state.json'), 'utf8')
    const former = readFileSync(file('web'), 'utf8')
    await store.lock(uuid, (session) =>
      session.updateMachine(web, (draft) => Object.assign(draft, { hostKey: 'another' })),
    )
    expect(read('web').schemaVersion).toBe(5)
    expect(Object.keys(read('web').machine.tasks)).toEqual(newNames)
    expect(readFileSync(`${file('web')}.bak`, 'utf8')).toBe(former)
    expect(readFileSync(file('db'), 'utf8')).toBe(untouched)
    expect(readFileSync(join(folder, 'state.json'), 'utf8')).toBe(head)
    const { machines } = await (await storeIn(root)).resolve('lab')
    expect(machines[web]).toMatchObject({
      hostKey: 'another',
      tasks: { 'hydra-proof': { inputs: 'hmac-8' } },
    })
  })

  it('keeps its machines when only the deployment is written', async () => {
    const { root, store } = await older()
    const { machines } = await store.resolve('lab')
    await store.lock(uuid, (session) =>
      session.updateDeployment((draft) => Object.assign(draft, { description: 'new' })),
    )
    expect(await (await storeIn(root)).resolve('lab')).toMatchObject({ description: 'new', machines })
  })

  it('is damaged, and not repaired by guessing, when its tasks are not records', async () => {
    const { file, store } = await older()
    const { machine, ...rest } = z
      .looseObject({ machine: z.looseObject({}) })
      .parse(JSON.parse(readFileSync(file('web'), 'utf8')))
    for (const tasks of [['hydra-users'], 'hydra-users', { 'hydra-users': 'done' }]) {
      writeFileSync(file('web'), JSON.stringify({ ...rest, machine: { ...machine, tasks } }))
      expect(await store.problems()).toMatchObject([{ code: 'STATE_DAMAGED' }])
    }
  })
})

it('a state of schema 2 has the records of its tasks under their present names too', () => {
  const state = z
    .looseObject({ deployment: z.looseObject({ machines: z.record(z.string(), z.looseObject({})) }) })
    .parse(JSON.parse(readFileSync(schema2.file, 'utf8')))
  Object.assign(state.deployment.machines.web ?? {}, {
    tasks: { 'hydra-users': 1, nix: 2, 'hydra-probe': 3 },
  })
  expect(migrate(state)).toMatchObject({
    kind: 'current',
    from: 2,
    state: { machines: { web: { tasks: { 'hydra-accounts': 1, nix: 2, 'hydra-proof': 3 } } } },
  })
})
