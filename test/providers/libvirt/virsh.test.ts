import { describe, expect, it } from 'vitest'
import { parseDominfo } from '../../../providers/libvirt/look.js'
import {
  createVirsh,
  defaultUri,
  isSystem,
  readFailure,
  startDaemon,
} from '../../../providers/libvirt/virsh.js'
import type { LocalCommands } from '../../../src/core/context.js'
import type { CommandResult } from '../../../src/core/ssh.js'
import { transcript, transcripts } from './transcripts.js'

const run = { signal: new AbortController().signal, log: () => {} }

function answering(result: CommandResult): {
  local: Pick<LocalCommands, 'run'>
  calls: (readonly string[])[]
} {
  const calls: (readonly string[])[] = []
  return {
    calls,
    local: {
      run: async (argv, options) => {
        calls.push(argv)
        expect(options.env).toMatchObject({ LC_ALL: 'C' })
        return result
      },
    },
  }
}

describe('the message of a failing virsh', () => {
  it.each([
    ['destroy', 'destroy vm2', 1, 'not-running'],
    ['destroy', 'destroy nope', 0, 'no-domain'],
    ['shutdown', 'shutdown vm2', 1, 'not-running'],
    ['start', 'start vm1', 0, 'already-active'],
    ['start', 'start nope', 0, 'no-domain'],
    ['start-fail', 'start tmp1', 0, 'other'],
    ['start-fail', 'start tmp1', 1, 'port-taken'],
    ['undefine', 'undefine nope', 0, 'no-domain'],
    ['testdriver', 'undefine t1 --nvram', 0, 'unsupported-flags'],
    ['testdriver', 'shutdown t1', 1, 'not-running'],
    ['define', 'define xml/kvm.xml', 0, 'other'],
  ])('%s: `%s` (%i) is %s', (name, command, nth, complaint) => {
    expect(readFailure(transcript(name, command, nth).result).complaint).toBe(complaint)
  })

  it('names a port of somebody else', () => {
    expect(readFailure(transcript('start-fail', 'start tmp1', 1).result).port).toBe(24_201)
    expect(readFailure(transcript('start-fail', 'start tmp1', 0).result).port).toBeUndefined()
  })

  it('is put into one line, the cause included', () => {
    const { message } = readFailure(transcript('define', 'define xml/kvm.xml').result)
    expect(message).toBe(
      "Failed to define domain from xml/kvm.xml; unsupported configuration: Emulator '/usr/bin/qemu-system-x86_64' does not support virt type 'kvm'",
    )
  })

  it('is never empty: it reports a killed virsh', () => {
    expect(readFailure({ kind: 'killed', signal: 'SIGKILL', stdout: '', stderr: '' }).message).toBe(
      'the command was killed by SIGKILL',
    )
  })
})

describe('virsh', () => {
  it('is called quietly, with its connection, in the C locale', async () => {
    const { local, calls } = answering({ kind: 'exited', code: 0, stdout: 'out', stderr: '' })
    expect(await createVirsh(local, 'qemu:///session').must(['list'], { what: 'list' }, run)).toBe('out')
    expect(calls).toEqual([['virsh', '-q', '-c', 'qemu:///session', 'list']])
  })

  it('turns a complaint into an error that names the machine and the attempt', async () => {
    const { local } = answering(transcript('start-fail', 'start tmp1', 0).result)
    const call = { what: 'start domain', machine: 'web' }
    await expect(createVirsh(local, 'qemu:///session').must(['start', 'x'], call, run)).rejects.toMatchObject(
      {
        code: 'LIBVIRT',
        machine: 'web',
        message: expect.stringMatching(/^machine 'web': cannot start domain: .*No such file or directory$/),
      },
    )
  })

  it('points to the daemon, with the command that starts it, when nobody answers', async () => {
    const stderr = [
      'error: failed to connect to the hypervisor',
      "error: Failed to connect socket to '/var/run/libvirt/libvirt-sock': No such file or directory",
    ].join('\n')
    const { local } = answering({ kind: 'exited', code: 1, stdout: '', stderr })
    await expect(
      createVirsh(local, 'qemu:///system').attempt(['list'], { what: 'list' }, run),
    ).rejects.toMatchObject({
      code: 'LIBVIRT_DAEMON',
      message: expect.stringContaining('qemu:///system'),
      hint: expect.stringMatching(/systemctl start libvirtd.*without systemd: .*libvirtd -d/),
    })
  })

  it('uses the session of an ordinary user and the system of root', () => {
    expect(defaultUri(1000)).toBe('qemu:///session')
    expect(defaultUri(0)).toBe('qemu:///system')
    expect(isSystem('qemu:///system')).toBe(true)
    expect(isSystem('qemu:///session')).toBe(false)
    expect(startDaemon('qemu:///session')).not.toContain('systemctl')
  })
})

it('the parser reads state, autostart and saved memory from dominfo', () => {
  const [running] = transcripts('dominfo')
  expect(parseDominfo(running?.result.stdout ?? '')).toEqual({
    state: { word: 'running', active: true },
    autostart: false,
    savedMemory: false,
  })
  const saved = 'State:          shut off\nAutostart:      enable\nManaged save:   yes\n'
  expect(parseDominfo(saved)).toEqual({
    state: { word: 'shut off', active: false },
    autostart: true,
    savedMemory: true,
  })
  expect(parseDominfo(saved.replace('yes', 'unknown')).savedMemory).toBe(true)
})
