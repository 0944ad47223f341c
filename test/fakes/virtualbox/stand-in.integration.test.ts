import { execFileSync, spawn, spawnSync } from 'node:child_process'
import {
  accessSync,
  chmodSync,
  constants,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createConnection, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { writeSerialGuest } from '../../fixtures/virtualbox/serial-guest.js'
import { behave, endAll, forceState, installVBoxManage, processOf, type StandIn } from './install.js'
import { alive } from './store.js'

const folder = mkdtempSync(join(tmpdir(), 'vbox-stand-in-'))
let standIn: StandIn
let count = 0

beforeAll(() => {
  standIn = installVBoxManage(folder)
})
afterEach(() => {
  endAll(standIn)
  behave(standIn, [])
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function ask(...words: string[]): { exit: number | null; stdout: string; stderr: string } {
  const environment = { PATH: process.env.PATH, HOME: folder, LC_ALL: 'C' }
  const said = spawnSync(standIn.program, words, { encoding: 'utf8', env: environment, cwd: folder })
  return { exit: said.status, stdout: said.stdout, stderr: said.stderr }
}

function must(...words: string[]): string {
  const { exit, stdout, stderr } = ask(...words)
  if (exit !== 0) throw new Error(`${words.join(' ')}: ${exit} ${stderr}`)
  return stdout
}

/** Makes a machine, which prints `hello` to its serial port where nothing else is said. */
function machine(writeDisk = (path: string): void => writeSerialGuest(path, 'hello')): {
  name: string
  uuid: string
  console: string
} {
  count += 1
  const name = `m${count}`
  const raw = join(folder, `${name}.raw`)
  const console = join(folder, `${name}.log`)
  writeDisk(raw)
  const made = must('createvm', '--name', name, '--ostype', 'Linux_64', '--register', '--basefolder', folder)
  must('convertfromraw', raw, join(folder, `${name}.vdi`), '--format', 'VDI')
  must('modifyvm', name, '--memory', '64', '--uart1', '0x3F8', '4', '--uartmode1', 'file', console)
  must('storagectl', name, '--name', 'SATA', '--add', 'sata', '--portcount', '2')
  const place = ['--storagectl', 'SATA', '--port', '0', '--device', '0']
  must('storageattach', name, ...place, '--type', 'hdd', '--medium', join(folder, `${name}.vdi`))
  return { name, uuid: made.match(/UUID: (.*)/)?.[1] ?? '', console }
}

function state(name: string): string {
  return must('showvminfo', name, '--machinereadable').match(/^VMState="(.*)"$/m)?.[1] ?? ''
}

const patience = { timeout: 60_000, interval: 50 }

async function untilSaid(file: string, text: string): Promise<void> {
  await vi.waitFor(() => expect(readFileSync(file, 'utf8')).toContain(text), patience)
}

async function holdPort(): Promise<{ server: Server; port: number }> {
  const server = createServer()
  const port = await new Promise<number>((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      resolve(typeof address === 'object' && address !== null ? address.port : 0)
    })
  })
  return { server, port }
}

async function freePort(): Promise<number> {
  const { server, port } = await holdPort()
  await new Promise((resolve) => server.close(resolve))
  return port
}

async function connects(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = createConnection(port, '127.0.0.1')
    socket.once('connect', () => resolve(true))
    socket.once('error', () => resolve(false))
    socket.once('close', () => socket.destroy())
    setTimeout(() => socket.destroy(), 1000).unref()
  })
}

describe('a running machine of the stand-in', () => {
  it('boots from its VDI, writes its console to a file and has its forwarded port', async () => {
    const { name, uuid, console } = machine()
    const port = await freePort()
    must('modifyvm', name, '--natpf1', `ssh,tcp,127.0.0.1,${port},,22`)
    const said = must('startvm', name, '--type', 'headless')
    expect(said).toBe(
      `Waiting for VM "${name}" to power on...\nVM "${name}" has been successfully started.\n`,
    )
    await untilSaid(console, 'hello')
    expect(await connects(port)).toBe(true)
    expect(must('list', 'runningvms')).toBe(`"${name}" {${uuid}}\n`)
    must('controlvm', name, 'natpf1', 'delete', 'ssh')
    expect(await connects(port)).toBe(false)
    must('controlvm', name, 'poweroff')
    expect(state(name)).toBe('poweroff')
  })

  it('starts with exit status 0 where its port is taken, and only its log tells', async () => {
    const { name } = machine()
    const { server, port } = await holdPort()
    try {
      must('modifyvm', name, '--natpf1', `ssh,tcp,127.0.0.1,${port},,22`)
      expect(ask('startvm', name, '--type', 'headless')).toMatchObject({ exit: 0, stderr: '' })
      expect(state(name)).toBe('running')
      const log = readFileSync(join(folder, name, 'Logs', 'VBox.log'), 'utf8')
      expect(log).toContain(
        `NAT#0: configuration error: failed to set up redirection of ${port} to 22. Probably a conflict with existing services or other rules`,
      )
    } finally {
      server.close()
    }
  })

  it('is aborted by the end of its process, and starts again', async () => {
    const { name, uuid, console } = machine()
    must('startvm', name, '--type', 'headless')
    process.kill(processOf(standIn.home, uuid) ?? 0, 'SIGKILL')
    await vi.waitFor(() => expect(state(name)).toBe('aborted'), patience)
    must('startvm', name, '--type', 'headless')
    expect(state(name)).toBe('running')
    await untilSaid(console, 'hello')
  })

  it('is off when its guest switched it off', async () => {
    // mov dx, 0x604; mov ax, 0x2000; out dx, ax; jmp $
    const off = Buffer.alloc(1024 * 1024)
    off.set([0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef, 0xeb, 0xfe])
    off.set([0x55, 0xaa], 510)
    const { name } = machine((path) => writeFileSync(path, off))
    must('startvm', name, '--type', 'headless')
    await vi.waitFor(() => expect(state(name)).toBe('poweroff'), patience)
  })

  it('runs on when its guest does not know the power button', async () => {
    const { name, console } = machine()
    must('startvm', name, '--type', 'headless')
    await untilSaid(console, 'hello')
    expect(ask('controlvm', name, 'acpipowerbutton')).toEqual({ exit: 0, stdout: '', stderr: '' })
    expect(state(name)).toBe('running')
  })

  it('continues from saved memory, and boots anew after a reset', async () => {
    const { name, console } = machine()
    must('startvm', name, '--type', 'headless')
    await untilSaid(console, 'hello')
    must('controlvm', name, 'savestate')
    expect(state(name)).toBe('saved')
    must('startvm', name, '--type', 'headless')
    expect(state(name)).toBe('running')
    expect(readdirSync(join(folder, name, 'Snapshots'))).toEqual([])
    expect(readFileSync(console, 'utf8')).toBe('')
    must('controlvm', name, 'reset')
    await untilSaid(console, 'hello')
  })

  it('comes back from a live snapshot as a saved machine, and continues there', async () => {
    const { name, console } = machine()
    must('startvm', name, '--type', 'headless')
    await untilSaid(console, 'hello')
    must('snapshot', name, 'take', 'live', '--live')
    expect(state(name)).toBe('running')
    must('controlvm', name, 'poweroff')
    must('snapshot', name, 'restore', 'live')
    expect(state(name)).toBe('saved')
    must('startvm', name, '--type', 'headless')
    expect(readFileSync(console, 'utf8')).toBe('')
    must('controlvm', name, 'poweroff')
    must('snapshot', name, 'delete', 'live')
    must('startvm', name, '--type', 'headless')
    await untilSaid(console, 'hello')
  })

  it('loses a snapshot while it runs, and boots from what its disk became', async () => {
    const { name, console } = machine()
    must('snapshot', name, 'take', 'first')
    must('snapshot', name, 'take', 'second')
    must('startvm', name, '--type', 'headless')
    must('snapshot', name, 'delete', 'first')
    must('snapshot', name, 'delete', 'second')
    expect(state(name)).toBe('running')
    const disks = must('list', 'hdds').match(/^Location: .*$/gm) ?? []
    expect(disks.filter((line) => line.includes(`/${name}`))).toEqual([
      `Location:       ${join(folder, `${name}.vdi`)}`,
    ])
    must('controlvm', name, 'poweroff')
    must('startvm', name, '--type', 'headless')
    await untilSaid(console, 'hello')
  })

  it('stays locked for a moment after its end, where a test wants this', async () => {
    const { name } = machine()
    must('startvm', name, '--type', 'headless')
    behave(standIn, ['linger=60000'])
    must('controlvm', name, 'poweroff')
    expect(state(name)).toBe('poweroff')
    expect(ask('modifyvm', name, '--memory', '128').stderr).toContain('already locked for a session')
    expect(ask('unregistervm', name, '--delete').stderr).toContain('while it is locked')
  })

  it('ends when its folder is removed', async () => {
    const { name, uuid } = machine()
    must('startvm', name, '--type', 'headless')
    const pid = processOf(standIn.home, uuid) ?? 0
    expect(alive(pid)).toBe(true)
    rmSync(standIn.home, { recursive: true })
    await vi.waitFor(() => expect(alive(pid)).toBe(false), patience)
    standIn = installVBoxManage(folder)
  })
})

describe('the stand-in of a VirtualBox with troubles', () => {
  it('warns on standard output without the driver, and starts nothing', () => {
    const { name } = machine()
    behave(standIn, ['no-driver'])
    const version = must('--version')
    expect(version).toMatch(/^WARNING: The character device \/dev\/vboxdrv does not exist\.\n/)
    expect(version.endsWith('problem is fixed.\n7.2.22_Debianr175245\n')).toBe(true)
    const started = ask('startvm', name, '--type', 'headless')
    expect(started.exit).toBe(1)
    expect(started.stderr).toContain('has terminated unexpectedly during startup')
    behave(standIn, [])
    expect(state(name)).toBe('poweroff')
  })

  it('translates messages and leaves codes', () => {
    behave(standIn, ['translated'])
    const { exit, stderr } = ask('showvminfo', 'nobody', '--machinereadable')
    expect(exit).toBe(1)
    expect(stderr).not.toContain('Could not find')
    expect(stderr).toContain('code VBOX_E_OBJECT_NOT_FOUND (0x80bb0001)')
  })

  it('shows a state that no call leads to', () => {
    const { name, uuid } = machine()
    forceState(standIn, uuid, 'gurumeditation')
    expect(state(name)).toBe('gurumeditation')
    must('controlvm', name, 'poweroff')
    forceState(standIn, uuid, 'aborted-saved')
    expect(state(name)).toBe('aborted-saved')
    must('discardstate', name)
    expect(state(name)).toBe('aborted')
  })

  it('refuses what no transcript shows, and changes nothing', () => {
    const { name } = machine()
    const before = must('showvminfo', name, '--machinereadable')
    const { exit, stderr } = ask('modifyvm', name, '--memory', '512', '--tpm-type', '2.0')
    expect({ exit, stderr }).toEqual({
      exit: 70,
      stderr: 'VBoxManage: the stand-in does not know modifyvm --tpm-type\n',
    })
    expect(must('showvminfo', name, '--machinereadable')).toBe(before)
  })

  it('clones an image that may only be read', () => {
    must('createmedium', 'disk', '--filename', join(folder, 'base.vdi'), '--size', '8')
    chmodSync(join(folder, 'base.vdi'), 0o444)
    must('clonemedium', 'disk', join(folder, 'base.vdi'), join(folder, 'clone.vdi'), '--format', 'VDI')
    accessSync(join(folder, 'clone.vdi'), constants.W_OK)
    expect(must('list', 'hdds')).toContain(`Location:       ${join(folder, 'clone.vdi')}\n`)
  })

  it('finds a difference under another name, and clones of one image run side by side', () => {
    const { name } = machine()
    must('storageattach', name, '--storagectl', 'SATA', '--port', '0', '--device', '0', '--medium', 'none')
    const base = join(folder, `${name}.vdi`)
    for (const [index, part] of ['left', 'right'].entries()) {
      const [draft, path] = [join(folder, `${part}.vdi.new`), join(folder, `${part}.vdi`)]
      must('createmedium', 'disk', '--filename', draft, '--diffparent', base, '--format', 'VDI')
      must('closemedium', 'disk', draft)
      renameSync(draft, path)
      const clone = index === 0 ? name : machine().name
      const place = ['--storagectl', 'SATA', '--port', index === 0 ? '0' : '1', '--device', '0']
      must('storageattach', clone, ...place, '--type', 'hdd', '--medium', path)
      must('startvm', clone, '--type', 'headless')
    }
    expect(must('list', 'runningvms').trim().split('\n')).toHaveLength(2)
    must('controlvm', name, 'poweroff')
    must('unregistervm', name, '--delete')
    expect(existsSync(join(folder, 'left.vdi'))).toBe(false)
    expect(existsSync(base)).toBe(true)
  })

  it('saves a machine whose disk another program made', async () => {
    const { name, console } = machine()
    const place = ['--storagectl', 'SATA', '--port', '0', '--device', '0']
    const foreign = join(folder, `${name}-foreign.vdi`)
    execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', 'vdi', join(folder, `${name}.raw`), foreign])
    must('storageattach', name, ...place, '--type', 'hdd', '--medium', foreign)
    must('startvm', name, '--type', 'headless')
    await untilSaid(console, 'hello')
    must('controlvm', name, 'savestate')
    expect(state(name)).toBe('saved')
    expect(execFileSync('qemu-img', ['info', foreign], { encoding: 'utf8' })).toContain('file format: vdi')
  })

  it('deletes the disks of a machine wherever they lie, but no image of a DVD and no shared disk', () => {
    const [one, other] = [machine().name, machine().name]
    const shared = join(folder, 'shared.vdi')
    const iso = join(folder, 'some.iso')
    writeFileSync(iso, 'image')
    must('createmedium', 'disk', '--filename', shared, '--size', '4')
    const attach = (name: string, port: string, type: string, medium: string): string => {
      const place = ['--storagectl', 'SATA', '--port', port, '--device', '0']
      return must('storageattach', name, ...place, '--type', type, '--medium', medium)
    }
    attach(one, '1', 'hdd', shared)
    attach(other, '1', 'hdd', shared)
    must('storagectl', one, '--name', 'IDE', '--add', 'ide')
    must(
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
    must('unregistervm', one, '--delete')
    const left = [`${one}.vdi`, one, 'shared.vdi', 'some.iso'].map((each) => existsSync(join(folder, each)))
    expect(left).toEqual([false, false, true, true])
    must('unregistervm', other, '--delete')
    expect(existsSync(shared)).toBe(false)
  })

  it('loses no change when several calls come at once', async () => {
    const { name } = machine()
    behave(standIn, ['pretend'])
    await Promise.all(
      ['a', 'b', 'c', 'd', 'e', 'f'].map(
        async (key) =>
          await new Promise((resolve) =>
            spawn(standIn.program, ['setextradata', name, `k/${key}`, key], { stdio: 'ignore' }).on(
              'close',
              resolve,
            ),
          ),
      ),
    )
    expect(must('getextradata', name, 'enumerate').split('\n').length).toBe(7)
    expect(existsSync(join(standIn.home, 'lock'))).toBe(false)
  })
})
