import { execFileSync, spawn } from 'node:child_process'
import { accessSync, chmodSync, constants, existsSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { behave, endAll, forceState } from './install.js'
import { StandInHost, untilSaid } from './stand-in-host.js'

const host = new StandInHost()

afterEach(() => {
  endAll(host.standIn)
  behave(host.standIn, [])
})
afterAll(() => host.remove())

describe('the stand-in of a VirtualBox with troubles', () => {
  it('warns on standard output without the driver, and starts nothing', () => {
    const { name } = host.machine()
    behave(host.standIn, ['no-driver'])
    const version = host.must('--version')
    expect(version).toMatch(/^WARNING: The character device \/dev\/vboxdrv does not exist\.\n/)
    expect(version.endsWith('problem is fixed.\n7.2.22_Debianr175245\n')).toBe(true)
    const started = host.ask('startvm', name, '--type', 'headless')
    expect(started.exit).toBe(1)
    expect(started.stderr).toContain('has terminated unexpectedly during startup')
    behave(host.standIn, [])
    expect(host.state(name)).toBe('poweroff')
  })

  it('translates messages and leaves codes', () => {
    behave(host.standIn, ['translated'])
    const { exit, stderr } = host.ask('showvminfo', 'nobody', '--machinereadable')
    expect(exit).toBe(1)
    expect(stderr).not.toContain('Could not find')
    expect(stderr).toContain('code VBOX_E_OBJECT_NOT_FOUND (0x80bb0001)')
  })

  it('shows a state that no call leads to', () => {
    const { name, uuid } = host.machine()
    forceState(host.standIn, uuid, 'gurumeditation')
    expect(host.state(name)).toBe('gurumeditation')
    host.must('controlvm', name, 'poweroff')
    forceState(host.standIn, uuid, 'aborted-saved')
    expect(host.state(name)).toBe('aborted-saved')
    host.must('discardstate', name)
    expect(host.state(name)).toBe('aborted')
  })

  it('refuses what no transcript shows, and changes nothing', () => {
    const { name } = host.machine()
    const before = host.must('showvminfo', name, '--machinereadable')
    const { exit, stderr } = host.ask('modifyvm', name, '--memory', '512', '--tpm-type', '2.0')
    expect({ exit, stderr }).toEqual({
      exit: 70,
      stderr: 'VBoxManage: the stand-in does not know modifyvm --tpm-type\n',
    })
    expect(host.must('showvminfo', name, '--machinereadable')).toBe(before)
  })

  it('clones an image that may only be read', () => {
    host.must('createmedium', 'disk', '--filename', host.path('base.vdi'), '--size', '8')
    chmodSync(host.path('base.vdi'), 0o444)
    host.must('clonemedium', 'disk', host.path('base.vdi'), host.path('clone.vdi'), '--format', 'VDI')
    accessSync(host.path('clone.vdi'), constants.W_OK)
    expect(host.must('list', 'hdds')).toContain(`Location:       ${host.path('clone.vdi')}\n`)
  })

  it('finds a difference under another name, and clones of one image run side by side', () => {
    const [one, other] = [host.machine().name, host.machine().name]
    const base = host.path('base-of-two.vdi')
    host.must('createmedium', 'disk', '--filename', base, '--size', '8')
    for (const name of [one, other]) {
      const [draft, path] = [host.path(`${name}-linked.vdi.new`), host.path(`${name}-linked.vdi`)]
      host.must('createmedium', 'disk', '--filename', draft, '--diffparent', base, '--format', 'VDI')
      host.must('closemedium', 'disk', draft)
      renameSync(draft, path)
      host.attach(name, 'SATA', '1', 'hdd', path)
      host.start(name)
    }
    expect(host.must('list', 'runningvms').trim().split('\n')).toHaveLength(2)
    for (const name of [one, other]) host.must('controlvm', name, 'poweroff')
    const left = (): boolean[] =>
      [`${one}-linked.vdi`, `${other}-linked.vdi`, 'base-of-two.vdi'].map((each) =>
        existsSync(host.path(each)),
      )
    host.must('unregistervm', one, '--delete')
    expect(left()).toEqual([false, true, true])
    // VirtualBox removes the base image together with its last clone, as measured.
    host.must('unregistervm', other, '--delete')
    expect(left()).toEqual([false, false, false])
  })

  it('saves a machine whose disk another program made', async () => {
    const { name, console } = host.machine()
    const place = ['--storagectl', 'SATA', '--port', '0', '--device', '0']
    const foreign = host.path(`${name}-foreign.vdi`)
    execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', 'vdi', host.path(`${name}.raw`), foreign])
    host.must('storageattach', name, ...place, '--type', 'hdd', '--medium', foreign)
    host.start(name)
    await untilSaid(console, 'hello')
    host.must('controlvm', name, 'savestate')
    expect(host.state(name)).toBe('saved')
    expect(execFileSync('qemu-img', ['info', foreign], { encoding: 'utf8' })).toContain('file format: vdi')
  })

  it('deletes the disks of a machine wherever they lie, but no image of a DVD and no shared disk', () => {
    const [one, other] = [host.machine().name, host.machine().name]
    const shared = host.path('shared.vdi')
    const iso = host.path('some.iso')
    writeFileSync(iso, 'image')
    host.must('createmedium', 'disk', '--filename', shared, '--size', '4')
    const attach = (name: string, port: string, type: string, medium: string): string => {
      const place = ['--storagectl', 'SATA', '--port', port, '--device', '0']
      return host.must('storageattach', name, ...place, '--type', type, '--medium', medium)
    }
    attach(one, '1', 'hdd', shared)
    attach(other, '1', 'hdd', shared)
    host.must('storagectl', one, '--name', 'IDE', '--add', 'ide')
    host.must(
      'storageattach',
      one,
      '--storagectl',
      'IDE',
      '--port',
      '0',
      '--device',
      '0',
      '--type',
      'dvddrive',
      '--medium',
      iso,
    )
    host.must('unregistervm', one, '--delete')
    const left = [`${one}.vdi`, one, 'shared.vdi', 'some.iso'].map((each) => existsSync(host.path(each)))
    expect(left).toEqual([false, false, true, true])
    host.must('unregistervm', other, '--delete')
    expect(existsSync(shared)).toBe(false)
  })

  it('loses no change when several calls come at once', async () => {
    const { name } = host.machine()
    behave(host.standIn, ['pretend'])
    await Promise.all(
      ['a', 'b', 'c', 'd', 'e', 'f'].map(
        async (key) =>
          await new Promise((resolve) =>
            spawn(host.standIn.program, ['setextradata', name, `k/${key}`, key], { stdio: 'ignore' }).on(
              'close',
              resolve,
            ),
          ),
      ),
    )
    expect(host.must('getextradata', name, 'enumerate').split('\n').length).toBe(7)
    expect(existsSync(join(host.standIn.home, 'lock'))).toBe(false)
  })
})
