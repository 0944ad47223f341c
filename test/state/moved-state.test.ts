import { cpSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Json } from '../../src/core/json.js'
import { DeploymentUuid, MachineName } from '../../src/core/names.js'
import { machineRecord } from './machine-record.js'
import { createLab, machineFile, storeIn, temporaryFolder, temporaryStore, web } from './temporary-store.js'

const open = storeIn

describe('a moved state folder', () => {
  const handleAt = (root: string): Json => ({
    folder: `${root}/deployments/x`,
    self: root,
    disks: [`${root}/images/a`, '/pool/b', `${root}-other/c`, './relative', 'no path'],
    size: 3,
  })

  it('keeps no path of its own in its records of a machine, and returns them at their new place', async () => {
    const store = await temporaryStore()
    const { uuid } = await createLab(store)
    await store.lock(
      uuid,
      async (held) => await held.putMachine(web, machineRecord({ handle: handleAt(store.root) })),
    )
    const { handle } = { ...(await store.resolve(uuid)).machines[web] }
    expect(handle).toEqual(handleAt(store.root))
    const text = readFileSync(machineFile(store, await store.resolve(uuid)), 'utf8')
    expect(text.replaceAll(`${store.root}-other`, '')).not.toContain(store.root)
    const elsewhere = join(dirname(store.root), 'elsewhere')
    renameSync(store.root, elsewhere)
    const moved = await open(elsewhere)
    expect((await moved.resolve(uuid)).machines[web]?.handle).toEqual({
      folder: `${elsewhere}/deployments/x`,
      self: elsewhere,
      disks: [`${elsewhere}/images/a`, '/pool/b', `${store.root}-other/c`, './relative', 'no path'],
      size: 3,
    })
  })
})

describe('a state of schema 1', () => {
  const uuid = DeploymentUuid.parse('0b7c3d1e-1111-4a2b-9c3d-000000000001')
  const name = `hydra-ops-${uuid}-web`

  async function migrated() {
    const root = join(temporaryFolder(), 'state')
    const folder = join(root, 'deployments', uuid)
    mkdirSync(folder, { recursive: true })
    cpSync(new URL('../fixtures/state/schema-1.json', import.meta.url), join(folder, 'state.json'))
    return { root, folder, store: await open(root) }
  }

  it('has its files in the current state folder, although that was moved before', async () => {
    const { root, folder, store } = await migrated()
    const { machines } = await store.resolve('lab')
    expect(await store.problems()).toEqual([])
    expect(machines[web]?.handle).toMatchObject({
      folder: `${folder}/disks/web`,
      disk: `${folder}/disks/web/${name}.qcow2`,
      extraDisks: { data: `/pool/${name}.data.qcow2` },
      image: {
        disk: `${root}/images/debian-12-abc/disk.qcow2`,
        kernel: `${root}/images/debian-12-abc/kernel`,
      },
    })
  })

  it('keeps files of the system libvirt at their place, and a machine without a handle', async () => {
    const { store } = await migrated()
    const { machines } = await store.resolve('lab')
    expect(machines[MachineName.parse('db')]?.handle).toMatchObject({
      folder: `/var/lib/libvirt/hydra-ops/${uuid}/db`,
      image: { disk: '/var/lib/libvirt/hydra-ops/images/debian-12-abc/disk.qcow2' },
    })
    expect(machines[MachineName.parse('app')]).not.toHaveProperty('handle')
  })

  it('is of the new schema after the next write, and the old file stays beside it', async () => {
    const { folder, store } = await migrated()
    await store.lock(uuid, (held) =>
      held.updateDeployment((draft) => Object.assign(draft, { description: 'written again' })),
    )
    const text = readFileSync(join(folder, 'machines', 'web.json'), 'utf8')
    expect(JSON.parse(text)).toMatchObject({
      schemaVersion: 5,
      machine: { handle: { folder: `{state}/deployments/${uuid}/disks/web` } },
    })
    expect(text).not.toContain('/home/alice')
    expect(JSON.parse(readFileSync(join(folder, 'state.json'), 'utf8'))).toMatchObject({
      schemaVersion: 5,
      revision: 9,
    })
    expect(JSON.parse(readFileSync(join(folder, 'state.json.schema-1'), 'utf8'))).toMatchObject({
      schemaVersion: 1,
    })
  })

  it('is damaged, and not repaired by guessing, when its handles are not objects', async () => {
    const { folder, store } = await migrated()
    const file = join(folder, 'state.json')
    const state: unknown = JSON.parse(readFileSync(file, 'utf8'))
    writeFileSync(file, JSON.stringify(Object.assign({}, state, { deployment: { uuid, machines: [1] } })))
    expect(await store.problems()).toMatchObject([{ code: 'STATE_DAMAGED' }])
  })
})
