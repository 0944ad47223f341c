import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { driverlessFlags, RealVirtualBox } from '../../fixtures/virtualbox/real-virtualbox.js'
import { writeSerialGuest } from '../../fixtures/virtualbox/serial-guest.js'

describe('the real VBoxManage', () => {
  let real: RealVirtualBox
  beforeAll(async () => {
    real = await RealVirtualBox.open()
  })
  afterAll(() => real?.dispose())

  it('is version 7 or newer, and warns that it has no driver', async () => {
    const { code, stdout, stderr } = await real.ask('--version')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^WARNING: The character device \/dev\/vboxdrv does not exist\.\n/)
    expect(Number.parseInt(stdout.trimEnd().split('\n').at(-1) ?? '', 10)).toBeGreaterThanOrEqual(7)
  })

  it('makes a VM in a folder that this host sees too, shows it and removes it', async () => {
    const made = await real.must('createvm', '--name', 'web', '--register', '--basefolder', real.folder)
    const [, uuid = ''] = /^UUID: (\S+)$/m.exec(made) ?? []
    expect(await real.must('list', 'vms')).toBe(`"web" {${uuid}}\n`)
    expect(await real.must('showvminfo', uuid, '--machinereadable')).toContain(`\nUUID="${uuid}"\n`)
    expect(existsSync(join(real.folder, 'web', 'web.vbox'))).toBe(true)
    await real.must('unregistervm', uuid, '--delete')
    expect(existsSync(join(real.folder, 'web'))).toBe(false)
  })

  it('starts no VM without the driver', async () => {
    await real.must('createvm', '--name', 'still', '--register', '--basefolder', real.folder)
    const { code, stderr } = await real.ask('startvm', 'still', '--type', 'headless')
    expect(code).toBe(1)
    expect(stderr).toContain("The virtual machine 'still' has terminated unexpectedly during startup")
  })

  it('knows no VM of another one', async () => {
    await real.must('createvm', '--name', 'mine', '--register', '--basefolder', real.folder)
    const other = await RealVirtualBox.open()
    try {
      expect(await other.must('list', 'vms')).toBe('')
    } finally {
      await other.dispose()
    }
  })
})

describe('the real VBoxManage with an interpreter in place of the driver', () => {
  let real: RealVirtualBox
  let console: string
  beforeAll(async () => {
    real = await RealVirtualBox.open({ driverless: true })
    console = join(real.folder, 'console.log')
    await makeGuest('guest', 'the guest is here\n', console)
  })
  afterAll(() => real?.dispose())

  const makeGuest = async (name: string, text: string, serial: string) => {
    const [raw, disk] = [join(real.folder, `${name}.raw`), join(real.folder, `${name}.vdi`)]
    writeSerialGuest(raw, text)
    await real.must('convertfromraw', raw, disk)
    await real.must('createvm', '--name', name, '--register', '--basefolder', real.folder)
    const port = ['--uart1', '0x3f8', '4', '--uartmode1', 'file', serial]
    await real.must('modifyvm', name, '--memory', '32', '--nic1', 'nat', ...port, ...driverlessFlags)
    await real.must('storagectl', name, '--name', 'SATA', '--add', 'sata')
    await real.must(
      ...['storageattach', name, '--storagectl', 'SATA', '--port', '0', '--type', 'hdd', '--medium', disk],
    )
  }

  it('boots a guest up to its console, and cuts its power', async () => {
    await real.must('startvm', 'guest', '--type', 'headless')
    await vi.waitFor(() => expect(readFileSync(console, 'utf8')).toBe('the guest is here\n'), 60_000)
    expect(await real.must('list', 'runningvms')).toMatch(/^"guest" /)
    await real.must('controlvm', 'guest', 'poweroff')
    await vi.waitFor(async () => {
      expect(await real.must('showvminfo', 'guest', '--machinereadable')).toContain('VMState="poweroff"')
    }, 60_000)
  })
})
