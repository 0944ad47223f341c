import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { doctor, startHint } from '../../../providers/virtualbox/doctor.js'
import { failure } from '../../../src/core/errors.js'
import type { CommandResult } from '../../../src/core/ssh.js'
import { transcript } from './transcripts.js'

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'hydra-ops-vbox-doctor-'))
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

const run = { signal: new AbortController().signal, log: () => {} }

function parts(answer?: CommandResult) {
  return {
    local: {
      run: async () => {
        if (answer === undefined) throw failure('NOT_INSTALLED', 'VBoxManage is not installed')
        return answer
      },
    },
    program: 'VBoxManage',
    hostRoot: root,
    uid: 1000,
  }
}

function write(path: string, content: string | Uint8Array): void {
  const file = join(root, path)
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, content)
}

/** Gives the host a driver, for which any character device suffices. */
function loadDriver(): void {
  mkdirSync(join(root, 'dev'))
  symlinkSync('/dev/null', join(root, 'dev', 'vboxdrv'))
}

const found = async () =>
  new Map((await doctor(parts(transcript('001')), run)).map((finding) => [finding.id, finding]))

describe('doctor, of VirtualBox', () => {
  it('notes that it is absent, which is no problem for other providers', async () => {
    expect(await doctor(parts(), run)).toEqual([
      expect.objectContaining({
        id: 'virtualbox.program',
        level: 'note',
        mend: expect.stringContaining('install'),
      }),
    ])
  })

  it('names the version, below a warning too', async () => {
    const warned = { ...transcript('001'), stdout: `WARNING: no driver\n${transcript('001').stdout}` }
    expect((await doctor(parts(warned), run))[0]).toMatchObject({
      level: 'ok',
      what: 'VirtualBox 7.2.22_Debianr175245',
    })
    const old = { ...transcript('001'), stdout: '6.1.50r161033\n' }
    expect((await doctor(parts(old), run))[0]).toMatchObject({ level: 'note' })
  })

  it('reports a VBoxManage that does not work', async () => {
    const broken: CommandResult = { kind: 'exited', code: 126, stdout: '', stderr: 'cannot execute\n' }
    expect((await doctor(parts(broken), run))[0]).toMatchObject({
      level: 'problem',
      what: expect.stringContaining('cannot execute'),
    })
  })

  it('says that the driver is loaded', async () => {
    loadDriver()
    expect((await found()).get('virtualbox.driver')).toMatchObject({ level: 'ok' })
    expect(await startHint(parts(), run)).toBeUndefined()
  })

  it('says how to load a missing driver, also after a failed start', async () => {
    expect((await found()).get('virtualbox.driver')).toMatchObject({
      level: 'problem',
      mend: expect.stringContaining('vboxconfig'),
    })
    expect(await startHint(parts(), run)).toMatch(/kernel module is not loaded.*vboxconfig/)
  })

  it('names Secure Boot as the reason, only while it is on', async () => {
    const variable = 'sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c'
    write(variable, Uint8Array.of(6, 0, 0, 0, 1))
    expect((await found()).get('virtualbox.driver')).toMatchObject({
      what: expect.stringContaining('Secure Boot'),
      mend: expect.stringContaining('mokutil'),
    })
    write(variable, Uint8Array.of(6, 0, 0, 0, 0))
    expect((await found()).get('virtualbox.driver')?.what).not.toContain('Secure Boot')
  })

  it('names KVM while it holds the processor’s virtualisation', async () => {
    loadDriver()
    write('sys/module/kvm_intel/refcnt', '0\n')
    expect((await found()).has('virtualbox.kvm')).toBe(false)
    write('sys/module/kvm/parameters/enable_virt_at_load', 'Y\n')
    expect((await found()).get('virtualbox.kvm')).toMatchObject({ level: 'problem' })
    write('sys/module/kvm/parameters/enable_virt_at_load', 'N\n')
    write('sys/module/kvm_intel/refcnt', '2\n')
    expect((await found()).get('virtualbox.kvm')?.mend).toContain('modprobe -r kvm_intel')
  })

  it('says after a failed start what keeps guests from starting, and nothing where all is well', async () => {
    loadDriver()
    write('sys/module/kvm_amd/refcnt', '1\n')
    expect(await startHint(parts(), run)).toMatch(/KVM \(kvm_amd\) holds .*: stop the guests of KVM/)
    rmSync(join(root, 'dev'), { recursive: true })
    write('sys/firmware/efi/efivars/SecureBoot-8be4df61', Uint8Array.of(6, 0, 0, 0, 1))
    expect(await startHint(parts(), run)).toMatch(/Secure Boot refuses unsigned modules: .*mokutil/)
  })

  it('notes a user who is not in vboxusers', async () => {
    write('etc/passwd', 'root:x:0:0::/root:/bin/sh\nme:x:1000:1000::/home/me:/bin/sh\n')
    write('etc/group', 'root:x:0:\nvboxusers:x:130:somebody\n')
    expect((await found()).get('virtualbox.group')?.mend).toContain('adduser me vboxusers')
    write('etc/group', 'vboxusers:x:130:somebody,me\n')
    expect((await found()).has('virtualbox.group')).toBe(false)
  })

  it('names the ranges of host-only networks', async () => {
    expect((await found()).get('virtualbox.host-only')?.what).toContain('192.168.56.0/21')
    write('etc/vbox/networks.conf', '* 10.0.0.0/8\n')
    expect((await found()).get('virtualbox.host-only')?.what).toContain('10.0.0.0/8')
  })
})
