import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createConnection, createServer, type Server } from 'node:net'
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest'
import { freePort } from '../../fixtures/free-port.js'
import { behave, endAll, installVBoxManage, processOf } from './install.js'
import { multicastGroup } from './qemu-arguments.js'
import { removeBusyFolder } from './remove-folder.js'
import { patience, StandInHost, untilSaid } from './stand-in-host.js'
import { alive, Store } from './store.js'

const host = new StandInHost()

afterEach(() => {
  endAll(host.standIn)
  behave(host.standIn, [])
})
afterAll(() => host.remove())

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

async function connects(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = createConnection(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

describe('a running machine of the stand-in', () => {
  it('boots from its VDI, writes its console to a file and has its forwarded port', async () => {
    const { name, uuid, console } = host.machine()
    const port = await freePort()
    host.must('modifyvm', name, '--natpf1', `ssh,tcp,127.0.0.1,${port},,22`)
    const said = host.start(name)
    expect(said).toBe(
      `Waiting for VM "${name}" to power on...\nVM "${name}" has been successfully started.\n`,
    )
    await untilSaid(console, 'hello')
    expect(await connects(port)).toBe(true)
    expect(host.must('list', 'runningvms')).toBe(`"${name}" {${uuid}}\n`)
    host.must('controlvm', name, 'natpf1', 'delete', 'ssh')
    expect(await connects(port)).toBe(false)
    host.must('controlvm', name, 'poweroff')
    expect(host.state(name)).toBe('poweroff')
  })

  it('starts with exit status 0 where its port is taken, and only its log tells', async () => {
    const { name } = host.machine()
    const { server, port } = await holdPort()
    try {
      host.must('modifyvm', name, '--natpf1', `ssh,tcp,127.0.0.1,${port},,22`)
      expect(host.ask('startvm', name, '--type', 'headless')).toMatchObject({ exit: 0, stderr: '' })
      expect(host.state(name)).toBe('running')
      const log = readFileSync(host.path(name, 'Logs', 'VBox.log'), 'utf8')
      expect(log).toContain(
        `NAT#0: configuration error: failed to set up redirection of ${port} to 22. Probably a conflict with existing services or other rules`,
      )
    } finally {
      server.close()
    }
  })

  it('is aborted by the end of its process, and starts again', async () => {
    const { name, uuid, console } = host.machine()
    host.start(name)
    process.kill(processOf(host.standIn.home, uuid) ?? 0, 'SIGKILL')
    await vi.waitFor(() => expect(host.state(name)).toBe('aborted'), patience)
    host.start(name)
    expect(host.state(name)).toBe('running')
    await untilSaid(console, 'hello')
  })

  it('is off when its guest switched it off', async () => {
    // The boot sector powers the guest off: mov dx, 0x604; mov ax, 0x2000; out dx, ax; jmp $
    const off = Buffer.alloc(1024 * 1024)
    off.set([0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef, 0xeb, 0xfe])
    off.set([0x55, 0xaa], 510)
    const { name } = host.machine((path) => writeFileSync(path, off))
    host.start(name)
    await vi.waitFor(() => expect(host.state(name)).toBe('poweroff'), patience)
  })

  it('runs on when its guest does not know the power button', async () => {
    const { name, console } = host.machine()
    host.start(name)
    await untilSaid(console, 'hello')
    expect(host.ask('controlvm', name, 'acpipowerbutton')).toEqual({ exit: 0, stdout: '', stderr: '' })
    expect(host.state(name)).toBe('running')
  })

  it('continues from saved memory, and boots anew after a reset', async () => {
    const { name, console } = host.machine()
    host.start(name)
    await untilSaid(console, 'hello')
    host.must('controlvm', name, 'savestate')
    expect(host.state(name)).toBe('saved')
    host.start(name)
    expect(host.state(name)).toBe('running')
    expect(readdirSync(host.path(name, 'Snapshots'))).toEqual([])
    expect(readFileSync(console, 'utf8')).toBe('')
    host.must('controlvm', name, 'reset')
    await untilSaid(console, 'hello')
  })

  it('comes back from a live snapshot as a saved machine, and continues there', async () => {
    const { name, console } = host.machine()
    host.start(name)
    await untilSaid(console, 'hello')
    host.must('snapshot', name, 'take', 'live', '--live')
    expect(host.state(name)).toBe('running')
    host.must('controlvm', name, 'poweroff')
    host.must('snapshot', name, 'restore', 'live')
    expect(host.state(name)).toBe('saved')
    host.start(name)
    expect(readFileSync(console, 'utf8')).toBe('')
    host.must('controlvm', name, 'poweroff')
    host.must('snapshot', name, 'delete', 'live')
    host.start(name)
    await untilSaid(console, 'hello')
  })

  it('loses a snapshot while it runs, and boots from what its disk became', async () => {
    const { name, console } = host.machine()
    host.must('snapshot', name, 'take', 'first')
    host.must('snapshot', name, 'take', 'second')
    host.start(name)
    host.must('snapshot', name, 'delete', 'first')
    host.must('snapshot', name, 'delete', 'second')
    expect(host.state(name)).toBe('running')
    const disks = host.must('list', 'hdds').match(/^Location: .*$/gm) ?? []
    expect(disks.filter((line) => line.includes(`/${name}`))).toEqual([
      `Location:       ${host.path(`${name}.vdi`)}`,
    ])
    host.must('controlvm', name, 'poweroff')
    host.start(name)
    await untilSaid(console, 'hello')
  })

  it('stays locked for a moment after its end, where a test wants this', async () => {
    const { name } = host.machine()
    host.start(name)
    behave(host.standIn, ['linger=3600000'])
    host.must('controlvm', name, 'poweroff')
    expect(host.state(name)).toBe('poweroff')
    expect(host.ask('modifyvm', name, '--memory', '128').stderr).toContain('already locked for a session')
    expect(host.ask('unregistervm', name, '--delete').stderr).toContain('while it is locked')
  })

  it('has its internal network on the loopback device alone', () => {
    const { name } = host.machine()
    host.must('modifyvm', name, '--nic2', 'intnet', '--intnet2', 'lan', '--nictype2', 'virtio')
    host.start(name)
    const found = new Store(host.standIn.home).find(name)
    const nic = typeof found === 'object' ? found.hardware.nics[1] : undefined
    const address = nic === undefined ? '' : (multicastGroup(nic, host.standIn.home)?.address ?? '')
    const group = address
      .split('.')
      .reverse()
      .map((part) => Number(part).toString(16).padStart(2, '0'))
    // The file has a block for each device: its number and name, then a line for each group.
    const devices = readFileSync('/proc/net/igmp', 'utf8').split(/^(?=\d)/m)
    const joined = devices.filter((device) => device.includes(group.join('').toUpperCase()))
    expect(joined.map((device) => device.split(/\s+/)[1])).toEqual(['lo'])
  })

  it('is aborted when the call that starts it is killed', async () => {
    const { name, uuid } = host.machine()
    host.start(name)
    const pid = processOf(host.standIn.home, uuid) ?? 0
    const store = new Store(host.standIn.home)
    const session = store.session(uuid)
    if (session === undefined) throw new Error('the machine is not running')
    store.saveSession(uuid, { ...session, state: 'starting', launching: true })
    expect(host.state(name)).toBe('aborted')
    expect(alive(pid)).toBe(false)
    host.must('unregistervm', name, '--delete')
  })

  it('ends when its folder is removed', async () => {
    const { name, uuid } = host.machine()
    host.start(name)
    const pid = processOf(host.standIn.home, uuid) ?? 0
    expect(alive(pid)).toBe(true)
    removeBusyFolder(host.standIn.home)
    await vi.waitFor(() => expect(alive(pid)).toBe(false), patience)
    host.standIn = installVBoxManage(host.folder)
  })
})
