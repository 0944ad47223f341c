import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { Run } from '../../src/core/run.js'
import { createLocalProbe } from '../../src/doctor/local-probe.js'
import { checkPrograms } from '../../src/doctor/programs.js'
import { checkSshAgent } from '../../src/doctor/ssh-agent.js'
import { localCommands } from '../../src/exec/local-commands.js'

const run: Run = { signal: new AbortController().signal, log: () => undefined }
const probe = (env: Record<string, string>) => createLocalProbe(localCommands, env, run)

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'doctor-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

it('the probe finds programs on PATH and in the folders of administrators', () => {
  expect(probe({ PATH: '/usr/bin' }).program('ssh')).toBe('/usr/bin/ssh')
  expect(probe({ PATH: '' }).program('libvirtd')).toBe('/usr/sbin/libvirtd')
  expect(probe({ PATH: folder }).program('ssh')).toBeUndefined()
})

it('the probe sees that programs are missing when PATH has none', () => {
  const missing = checkPrograms(probe({ PATH: folder })).filter((finding) => finding.level === 'problem')
  expect(missing.map((finding) => finding.id)).toContain('programs.ssh')
})

it('the probe sees a dead agent in SSH_AUTH_SOCK', async () => {
  const inherited = process.env.SSH_AUTH_SOCK
  process.env.SSH_AUTH_SOCK = join(folder, 'agent')
  try {
    const finding = await checkSshAgent(probe({ PATH: '/usr/bin', SSH_AUTH_SOCK: join(folder, 'agent') }))
    expect(finding).toMatchObject({ id: 'ssh.agent', level: 'problem' })
  } finally {
    if (inherited === undefined) delete process.env.SSH_AUTH_SOCK
    else process.env.SSH_AUTH_SOCK = inherited
  }
})

it('the probe reads free space, owner and mode, also of a folder that is yet to be made', () => {
  const host = probe({})
  expect(host.freeBytes(join(folder, 'not/yet'))).toBeGreaterThan(0)
  expect(host.owner(folder)).toEqual({ uid: process.getuid?.(), mode: 0o700 })
  expect(host.owner(join(folder, 'not'))).toBeUndefined()
})

it('a missing program counts as no answer, not as an error', async () => {
  expect(await probe({}).run(['hydra-ops-no-such-program'])).toBeUndefined()
})
