import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { VirtualBoxConfig } from '../../../providers/virtualbox/config.js'
import { machinesOf, type Subject } from './made-machines.js'
import { type Session, settingsOf } from './session.js'

/** Defines tests of faults around a machine, on the stand-in and on the real VBoxManage alike. */
export function faultCases({ name, open, options }: Subject): void {
  describe(`faults, on ${name}`, () => {
    let session: Session
    let forgotten: () => Promise<void>
    let dispose: (() => Promise<void>) | undefined
    beforeAll(async () => {
      const opened = await open()
      session = opened.session
      forgotten = opened.forgotten
      dispose = opened.dispose
    })
    afterAll(() => dispose?.())

    const { reconcile, make, facts, start, seen, destroy } = machinesOf(() => session, options)

    describe('options of VBoxManage that the user adds', () => {
      it('save nothing where one is wrong, and the machine keeps its settings', async () => {
        const made = await make()
        const before = await settingsOf(session, made.handle.uuid)
        const config = VirtualBoxConfig.parse({
          ...made.config,
          memorySize: 128,
          vcpu: 2,
          vmFlags: ['--no-such-option', 'on'],
        })
        const wrong = { ...made, config }
        await expect(reconcile(wrong)).rejects.toMatchObject({
          code: 'VIRTUALBOX',
          message: expect.stringContaining('--no-such-option'),
        })
        expect(await settingsOf(session, made.handle.uuid)).toBe(before)
        // The changes stay due for the new config, and the machine still matches its old config.
        expect(await session.provider.plan(wrong, session.run)).toMatchObject([
          { detail: 'memory 64 → 128 MiB' },
          { detail: 'vCPU 1 → 2' },
        ])
        expect(await session.provider.plan(made, session.run)).toEqual([])
        await destroy(made)
      })
    })

    describe('a disk of ours that somebody attached to another machine, too', () => {
      it('is left there by a destroy, which says so and ends once the disk is detached', async () => {
        const made = await make({ disks: { data: { port: 1, size: 16 } } })
        const data = made.handle.extraDisks.data ?? ''
        const other = ['--name', 'borrower', '--ostype', 'Linux26_64', '--register']
        await session.vbox('createvm', ...other, '--basefolder', join(session.folder, 'borrower'))
        await session.vbox('storagectl', 'borrower', '--name', 'SATA', '--add', 'sata')
        const slot = ['--storagectl', 'SATA', '--port', '0', '--device', '0']
        // VirtualBox attaches one disk to two machines without an error.
        await session.vbox('storageattach', 'borrower', ...slot, '--type', 'hdd', '--medium', data)
        await expect(destroy(made)).rejects.toMatchObject({
          code: 'DISK_IN_USE',
          message: expect.stringContaining(data),
        })
        expect(existsSync(data)).toBe(true)
        await session.vbox('storageattach', 'borrower', ...slot, '--medium', 'none')
        await destroy(made)
        expect(existsSync(made.disks)).toBe(false)
        await session.vbox('unregistervm', 'borrower', '--delete')
      })
    })

    describe('settings that a crash left', () => {
      it('damaged are made anew, with the disks as they were', async () => {
        for (const isRegistered of [true, false]) {
          const made = await make()
          const { settings } = await facts(made)
          if (!isRegistered) await session.vbox('unregistervm', made.handle.uuid)
          await forgotten()
          writeFileSync(settings, readFileSync(settings, 'utf8').slice(0, 200))
          await reconcile(made)
          expect(await session.provider.plan(made, session.run)).toEqual([])
          expect((await facts(made)).attached.get('SATA-0-0')).toBe(made.handle.disk)
          await destroy(made)
        }
      })

      it('damaged are an error while there are snapshots, and a destroy removes everything', async () => {
        const before = await session.registry()
        const made = await make()
        await session.provider.snapshots?.create(made, { name: 'one', description: undefined }, session.run)
        const { settings } = await facts(made)
        await forgotten()
        writeFileSync(settings, readFileSync(settings, 'utf8').slice(0, 200))
        expect(await session.vbox('list', 'vms')).toContain('<inaccessible>')
        expect(await seen(made)).toMatchObject({ kind: 'stopped' })
        for (const attempt of [reconcile, reconcile, start]) {
          await expect(attempt(made)).rejects.toMatchObject({
            machine: made.machine,
            hint: expect.any(String),
          })
        }
        await expect(reconcile(made)).rejects.toMatchObject({
          code: 'VIRTUALBOX_SETTINGS',
          hint: expect.stringContaining(`${settings}-prev`),
        })
        await destroy(made)
        expect(existsSync(made.disks)).toBe(false)
        expect(await session.registry()).toEqual(before)
      })

      it('without registration are registered again', async () => {
        const made = await make()
        await session.vbox('unregistervm', made.handle.uuid)
        expect(await seen(made)).toMatchObject({ kind: 'absent' })
        await reconcile(made)
        expect(await session.provider.plan(made, session.run)).toEqual([])
        await destroy(made)
      })
    })
  })
}
