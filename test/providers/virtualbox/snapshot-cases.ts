import { existsSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { VirtualBoxConfig, type VirtualBoxHandle } from '../../../providers/virtualbox/config.js'
import { parseMedia } from '../../../providers/virtualbox/media.js'
import type { VirtualBoxResource } from '../../../providers/virtualbox/places.js'
import type { Snapshots } from '../../../src/core/provider.js'
import { readDisk, writeDisk } from './disk-content.js'
import { type Made, machinesOf, type Subject } from './made-machines.js'
import type { Session } from './session.js'

function withConfig(made: Made, config: object): Made {
  return { ...made, config: VirtualBoxConfig.parse({ ...made.config, ...config }) }
}

const data = (port: number) => ({ disks: { data: { port, size: 16 } } })

/** Defines the tests of snapshots, for the stand-in and for the real VBoxManage alike. */
export function snapshotCases({ name, open, options }: Subject): void {
  describe(`snapshots, on ${name}`, () => {
    let session: Session
    let dispose: (() => Promise<void>) | undefined
    beforeAll(async () => {
      const opened = await open()
      session = opened.session
      dispose = opened.dispose
    })
    afterAll(() => dispose?.())

    const { reconcile, make, facts, plan, destroy } = machinesOf(() => session, options)
    const power = (): Snapshots<
      VirtualBoxResource['config'],
      VirtualBoxResource['allocation'],
      VirtualBoxHandle
    > => {
      const { snapshots } = session.provider
      if (snapshots === undefined) throw new Error('the provider keeps snapshots')
      return snapshots
    }
    const take = (made: Made, name: string) =>
      power().create(made, { name, description: undefined }, session.run)
    const list = (made: Made) => power().list(made, session.run)
    const losses = (made: Made, name: string) => power().losses(made, name, session.run)
    const restore = (made: Made, name: string) => power().restore(made, name, session.run)
    const remove = (made: Made, name: string) => power().delete(made, name, session.run)
    const media = async () => parseMedia(await session.vbox('list', 'hdds'))

    describe('snapshots that somebody else made', () => {
      it('are listed with their text, and restored', async () => {
        const made = await make()
        await writeDisk(session, made, 'before')
        const about = 'of "mine", with a \\'
        await session.vbox('snapshot', made.handle.uuid, 'take', 'by hand', '--description', about)
        await writeDisk(session, made, 'after')
        expect(await list(made)).toMatchObject([{ name: 'by hand', memory: false, description: about }])
        await restore(made, 'by hand')
        expect(await readDisk(session, made)).toBe('before')
        // The settings at that moment are unknown, so the next deploy applies all settings.
        expect(await plan(made)).toMatchObject([{ detail: 'other options of the machine' }])
        await reconcile(made)
        expect(await plan(made)).toEqual([])
        await destroy(made)
      })

      it('with the same name twice are neither restored nor deleted', async () => {
        const made = await make()
        await take(made, 'one')
        await session.vbox('snapshot', made.handle.uuid, 'take', 'one')
        const named = { code: 'SNAPSHOT_AMBIGUOUS', machine: made.machine }
        await expect(restore(made, 'one')).rejects.toMatchObject(named)
        await expect(remove(made, 'one')).rejects.toMatchObject(named)
        expect(await list(made)).toHaveLength(2)
        await destroy(made)
      })
    })

    describe('a snapshot on which several newer states build', () => {
      it('is deleted after the others, as VirtualBox cannot delete it', async () => {
        const made = await make()
        await writeDisk(session, made, 'first')
        await take(made, 'one')
        await take(made, 'two')
        await restore(made, 'one')
        await expect(remove(made, 'one')).rejects.toMatchObject({
          code: 'SNAPSHOT_NEEDED',
          message: expect.stringContaining('two and the current state'),
          hint: expect.stringContaining('snapshot delete two'),
        })
        await remove(made, 'two')
        await remove(made, 'one')
        expect(await list(made)).toEqual([])
        expect(await readDisk(session, made)).toBe('first')
        await destroy(made)
      })
    })

    describe('a snapshot with a lost part', () => {
      it('is refused before anything changes', async () => {
        const made = await make(data(1))
        await take(made, 'one')
        await take(made, 'two')
        await writeDisk(session, made, 'present')
        const file = (await facts(made)).attached.get('SATA-1-0') ?? ''
        const known = await media()
        const parent = known.find(({ location }) => location === file)?.parent
        const lost = known.find(({ uuid }) => uuid === parent)?.location ?? ''
        renameSync(lost, join(session.folder, 'lost.vdi'))
        const named = { code: 'SNAPSHOT_LOST', message: expect.stringContaining(lost) }
        await expect(losses(made, 'two')).rejects.toMatchObject(named)
        await expect(restore(made, 'two')).rejects.toMatchObject(named)
        expect(await readDisk(session, made)).toBe('present')
        renameSync(join(session.folder, 'lost.vdi'), lost)
        await restore(made, 'two')
        await destroy(made)
      })
    })

    describe('a disk of a machine with snapshots', () => {
      it('keeps its newest content when the expression drops it, and attaches it at another port', async () => {
        const made = await make(data(1))
        await writeDisk(session, made, 'old', '1-0')
        await take(made, 'one')
        await writeDisk(session, made, 'new', '1-0')
        const without = await reconcile(withConfig(made, { disks: {} }))
        expect([...(await facts(without)).attached.keys()]).toEqual(['SATA-0-0', 'SATA-8-0'])
        const moved = await reconcile(withConfig(without, data(3)))
        expect(await readDisk(session, moved, '3-0')).toBe('new')
        const again = await reconcile(withConfig(moved, data(2)))
        expect(await readDisk(session, again, '2-0')).toBe('new')
        expect(await plan(again)).toEqual([])
        await restore(again, 'one')
        expect(await readDisk(session, again, '1-0')).toBe('old')
        await destroy(again)
      })

      it('that is newer is detached by a restore, keeps its content, and comes back by a deploy', async () => {
        const made = await make()
        await take(made, 'one')
        const newer = await reconcile(withConfig(made, { ...data(1), memorySize: 128 }))
        await writeDisk(session, newer, 'kept', '1-0')
        expect(await losses(newer, 'one')).toEqual([
          'disk data is newer: it is detached, and its file stays as it is',
          'memory 128 → 64 MiB',
        ])
        await restore(newer, 'one')
        expect(existsSync(newer.handle.extraDisks.data ?? '')).toBe(true)
        await reconcile(newer)
        expect(await readDisk(session, newer, '1-0')).toBe('kept')
        await take(newer, 'two')
        expect(await losses(newer, 'one')).toContainEqual(
          'disk data is newer: it is detached, and it loses all changes since the last snapshot that has it',
        )
        await destroy(newer)
      })

      it('does not grow', async () => {
        const made = await make(data(1))
        await take(made, 'one')
        const bigger = withConfig(made, { disks: { data: { port: 1, size: 32 } } })
        await expect(plan(bigger)).rejects.toMatchObject({
          exitCode: 2,
          message: expect.stringContaining('cannot grow while the machine has snapshots'),
        })
        await destroy(made)
      })
    })

    describe('the settings of a restored machine', () => {
      it('are compared with those of the snapshot, also where VirtualBox does not show them', async () => {
        const made = await make({ vmFlags: ['--hpet', 'off'] })
        await take(made, 'one')
        const changed = await reconcile(withConfig(made, { vmFlags: ['--hpet', 'on'] }))
        expect(await plan(changed)).toEqual([])
        await restore(changed, 'one')
        expect(await plan(changed)).toMatchObject([{ detail: 'other options of the machine' }])
        expect(await plan(made)).toEqual([])
        await destroy(made)
      })

      it('are all applied by the next deploy when a restore was interrupted', async () => {
        const made = await make()
        await take(made, 'one')
        const dying = session.providerWith({
          local: {
            run: async (argv, options) => {
              const result = await session.local.run(argv, options)
              if (argv[1] === 'snapshot' && argv[3] === 'restore') throw new Error('killed')
              return result
            },
          },
        })
        await expect(dying.snapshots?.restore(made, 'one', session.run)).rejects.toThrow('killed')
        expect(await plan(made)).toHaveLength(1)
        await reconcile(made)
        expect(await plan(made)).toEqual([])
        await destroy(made)
      })

      it('have the newer identity: the seed is not part of a snapshot', async () => {
        const made = await make()
        await take(made, 'one')
        const uuidOf = async (path: string) => (await media()).find(({ location }) => location === path)?.uuid
        const seed = (await facts(made)).attached.get('SATA-8-0') ?? ''
        const before = await uuidOf(seed)
        const renamed = { ...made, identity: made.identity && { ...made.identity, hostName: 'renamed' } }
        await reconcile(renamed)
        expect(readFileSync(seed).includes('renamed')).toBe(true)
        expect(await uuidOf(seed)).toBe(before)
        await restore(renamed, 'one')
        expect((await facts(made)).attached.get('SATA-8-0')).toBe(seed)
        expect(readFileSync(seed).includes('renamed')).toBe(true)
        await destroy(renamed)
      })
    })

    describe('saved memory', () => {
      it('is lost by a restore, which says so', async () => {
        const made = await make()
        await take(made, 'off')
        await session.provider.start(made, session.run)
        await session.vbox('controlvm', made.handle.uuid, 'savestate')
        expect(await losses(made, 'off')).toEqual(['its saved memory is removed'])
        await restore(made, 'off')
        expect(await facts(made)).toMatchObject({ state: 'poweroff' })
        await destroy(made)
      })
    })

    describe('linked clones and snapshots', () => {
      it('leave the image alone when the machine is destroyed', async () => {
        const before = await session.registry()
        const made = await make({ linkedClone: true })
        await take(made, 'one')
        await take(made, 'two')
        const base = parseMedia(await session.vbox('list', 'hdds')).find(({ location }) =>
          /small-1024\.vdi$/.test(location),
        )?.location
        await destroy(made)
        expect(existsSync(base ?? '')).toBe(true)
        expect(existsSync(made.disks)).toBe(false)
        expect(await session.registry()).toEqual(before)
      })

      it('of the user keep the machine from being destroyed, and nothing is removed', async () => {
        const before = await session.registry()
        const made = await make(data(1))
        await take(made, 'one')
        const folder = join(session.folder, 'clones')
        const from = ['clonevm', made.handle.uuid, '--snapshot', 'one', '--options', 'link']
        await session.vbox(...from, '--name', 'clone', '--register', '--basefolder', folder)
        const cloned = await session.registry()
        await expect(destroy(made)).rejects.toMatchObject({
          code: 'DISK_IN_USE',
          message: expect.stringContaining('is based on its disk'),
        })
        expect(await session.registry()).toEqual(cloned)
        expect(existsSync(made.handle.disk)).toBe(true)
        await session.vbox('unregistervm', 'clone', '--delete')
        await destroy(made)
        rmSync(folder, { recursive: true, force: true })
        expect(await session.registry()).toEqual(before)
      })
    })
  })
}
