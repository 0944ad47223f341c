import { existsSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { carefully, madeMachines } from './made-machines.js'
import type { Session } from './session.js'

const machines = madeMachines()
const { make, planned } = machines
const options = carefully

let session: Session
beforeAll(() => {
  session = machines.session
})

describe('a deploy to a machine with a missing disk', () => {
  it('does not recreate its root disk, unless that is allowed', async () => {
    const resource = await make()
    rmSync(resource.handle?.disk ?? '')
    expect(await session.provider.plan(resource, session.run)).toMatchObject([{ needs: 'recreate' }])
    await expect(session.provider.reconcile(resource, options, session.run)).rejects.toMatchObject({
      code: 'NEEDS_RECREATE',
    })
    await session.provider.reconcile(resource, { ...options, allowRecreate: true }, session.run)
    expect(await session.provider.plan(resource, session.run)).toEqual([])
  })

  it.each(['data', 'more'])(
    'does not replace the missing disk %s by an empty disk, unless that is allowed',
    async (name) => {
      const resource = await make({ extraDisks: { data: 1, more: 1 } })
      const file = resource.handle?.extraDisks[name] ?? ''
      const root = statSync(resource.handle?.disk ?? '').ino
      rmSync(file)
      const lost = {
        action: 'recreate',
        detail: `disk ${name}: its file ${file} is gone; an empty disk takes its place`,
        needs: 'new-disk',
        hint: 'restore the file if you have a copy',
      }
      expect(await session.provider.plan(resource, session.run)).toEqual([lost])
      await expect(session.provider.reconcile(resource, options, session.run)).rejects.toMatchObject({
        code: 'NEEDS_RECREATE',
        message: expect.stringContaining(file),
        hint: expect.stringContaining('--allow-recreate'),
      })
      expect(existsSync(file)).toBe(false)
      await session.provider.reconcile(resource, { ...options, allowRecreate: true }, session.run)
      expect(await session.provider.plan(resource, session.run)).toEqual([])
      expect(statSync(resource.handle?.disk ?? '').ino).toBe(root)
    },
  )

  it('does not mistake a disk that was detached and lost for a disk that was never made', async () => {
    const resource = await make({ extraDisks: { data: 1 } })
    const without = (await planned(resource, { extraDisks: {} })).wanted
    const handle = await session.provider.reconcile(without, options, session.run)
    rmSync(handle.extraDisks.data ?? '')
    expect(await session.provider.plan({ ...without, handle }, session.run)).toEqual([])
    const again = { ...resource, handle }
    expect(await session.provider.plan(again, session.run)).toContainEqual(
      expect.objectContaining({ needs: 'new-disk' }),
    )
    await expect(session.provider.reconcile(again, options, session.run)).rejects.toMatchObject({
      code: 'NEEDS_RECREATE',
    })
  })

  it('reports a lost data disk although somebody undefined the domain', async () => {
    const resource = await make({ extraDisks: { data: 1 } })
    await session.virsh('undefine', resource.name)
    rmSync(resource.handle?.extraDisks.data ?? '')
    expect(await session.provider.plan(resource, session.run)).toMatchObject([
      { action: 'create' },
      { needs: 'new-disk' },
    ])
    await expect(session.provider.reconcile(resource, options, session.run)).rejects.toMatchObject({
      code: 'NEEDS_RECREATE',
    })
  })
})

describe('a data disk that is removed while the guest runs', () => {
  it('needs a restart, and the plan says so until the guest has the new file', async () => {
    const { provider, run } = session
    const resource = await make({ extraDisks: { data: 1, more: 1 } })
    await provider.start(resource, run)
    expect(await provider.plan(resource, run)).toEqual([])
    rmSync(resource.handle?.extraDisks.data ?? '')
    const restart = {
      action: 'change',
      detail: expect.stringMatching(/^disk data: .*; first copy its data to another disk$/),
      needs: 'restart',
    }
    expect(await provider.plan(resource, run)).toEqual([
      expect.objectContaining({ needs: 'new-disk' }),
      restart,
    ])
    await provider.reconcile(resource, { ...options, allowRecreate: true }, run)
    expect(await provider.plan(resource, run)).toEqual([restart])
    await provider.stop(resource, { graceMs: 0 }, run)
    await provider.start(resource, run)
    expect(await provider.plan(resource, run)).toEqual([])
  })
})

describe('a start of a machine with a missing disk', () => {
  it.each([
    ['its root disk', undefined, /which loses all disks of the machine/],
    ['its disk data', 'data', /which creates an empty disk instead/],
    ['its disk more', 'more', /which creates an empty disk instead/],
  ])('names the file and the remedy: %s', async (_, name, hint) => {
    const resource = await make({ extraDisks: { data: 1, more: 1 } })
    const { handle } = resource
    const file = (name === undefined ? handle?.disk : handle?.extraDisks[name]) ?? ''
    rmSync(file)
    await expect(session.provider.start(resource, session.run)).rejects.toMatchObject({
      code: 'NO_DISK',
      machine: resource.machine,
      message: `machine '${resource.machine}': disk files are gone: ${name === undefined ? 'root disk' : `disk ${name}`} ${file}`,
      hint: expect.stringMatching(hint),
    })
  })

  it('does not miss the file of a detached disk', async () => {
    const resource = await make({ extraDisks: { data: 1 } })
    const without = (await planned(resource, { extraDisks: {} })).wanted
    const handle = await session.provider.reconcile(without, options, session.run)
    rmSync(handle.extraDisks.data ?? '')
    await session.provider.start({ ...without, handle }, session.run)
    expect(await session.provider.inspect({ ...without, handle }, session.run)).toMatchObject({
      kind: 'running',
    })
    await session.provider.stop({ ...without, handle }, { graceMs: 0 }, session.run)
  })
})

describe('a start of a machine with a missing identity file', () => {
  it.each([
    ['fwcfg', 'identity.tmpfiles'],
    ['nocloud', 'seed.iso'],
  ] as const)('names the file, and the next deploy writes it anew: %s', async (baseImageIdentity, name) => {
    const { provider, run } = session
    const resource = await make({ baseImageIdentity })
    const file = join(resource.handle?.folder ?? '', name)
    rmSync(file)
    await expect(provider.start(resource, run)).rejects.toMatchObject({
      code: 'NO_IDENTITY',
      machine: resource.machine,
      message: `machine '${resource.machine}': the identity file ${file} is gone`,
      hint: 'hydra-ops deploy writes the file again',
    })
    await provider.reconcile(resource, options, run)
    await provider.start(resource, run)
    expect(await provider.inspect(resource, run)).toMatchObject({ kind: 'running' })
    await provider.stop(resource, { graceMs: 0 }, run)
  })
})

describe('a missing base image', () => {
  const lost = async () => {
    const resource = await make()
    const { image } = session
    renameSync(image.disk, `${image.disk}.away`)
    return { resource, back: () => renameSync(`${image.disk}.away`, image.disk) }
  }

  it('is in the plan with its cost, and reconcile refuses that', async () => {
    const { resource, back } = await lost()
    try {
      expect(await session.provider.plan(resource, session.run)).toEqual([
        {
          action: 'recreate',
          detail: `the base image ${session.image.disk} is gone`,
          needs: 'recreate',
          hint: 'restore the file if you have a copy',
        },
      ])
      await expect(session.provider.reconcile(resource, options, session.run)).rejects.toMatchObject({
        code: 'NEEDS_RECREATE',
        hint: expect.stringContaining('--allow-recreate'),
      })
    } finally {
      back()
    }
    expect(await session.provider.plan(resource, session.run)).toEqual([])
  })

  it('is named when the machine is started, with the remedy', async () => {
    const { resource, back } = await lost()
    try {
      await expect(session.provider.start(resource, session.run)).rejects.toMatchObject({
        code: 'NO_BACKING_FILE',
        machine: resource.machine,
        message: `machine '${resource.machine}': the base image ${session.image.disk} is gone, and the machine's disk holds only its differences from the image`,
        hint: expect.stringMatching(/restore the image.*--allow-recreate/s),
      })
    } finally {
      back()
    }
  })

  it.each(['kernel', 'initrd'] as const)('is named when only its %s is missing', async (part) => {
    const file = join(session.folder, part)
    writeFileSync(file, 'not much')
    const given = await session.makeResource(
      { baseImageSize: 1 },
      { image: { ...session.image, [part]: file } },
    )
    machines.tidy(given)
    const handle = await session.provider.reconcile(given, options, session.run)
    rmSync(file)
    await expect(session.provider.start({ ...given, handle }, session.run)).rejects.toMatchObject({
      code: 'NO_BACKING_FILE',
      message: expect.stringContaining(`${file} is gone`),
    })
  })
})
