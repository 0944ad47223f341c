import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { HostKeySeen } from '../../src/core/ssh.js'
import { type SshAgent, startSshAgent } from '../fixtures/ssh-agent.js'
import { makeKey, type Sshd, startSshd } from '../fixtures/sshd.js'
import { connected, never, remote, testSsh } from '../fixtures/sshd-session.js'

const passphrase = 'open sesame'
let folder: string
let agent: SshAgent
let encrypted: string
let stranger: string
let sshd: Sshd

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'hydra-ops-login-'))
  encrypted = makeKey(folder, 'with passphrase', 'ed25519', passphrase)
  stranger = makeKey(folder, 'stranger')
  sshd = await startSshd({ authorizedKeys: [`${encrypted}.pub`] })
  agent = await startSshAgent(folder)
})

afterAll(async () => {
  agent.stop()
  await sshd.stop()
  rmSync(folder, { recursive: true, force: true })
})

function addToAgent(key: string): void {
  const askpass = join(folder, 'askpass')
  writeFileSync(askpass, `#!/bin/sh\necho '${passphrase}'\n`, { mode: 0o700 })
  execFileSync('ssh-add', ['-q', key], {
    env: { ...process.env, SSH_AUTH_SOCK: agent.socket, SSH_ASKPASS: askpass, SSH_ASKPASS_REQUIRE: 'force' },
    stdio: 'pipe',
  })
}

function emptyAgent(): void {
  execFileSync('ssh-add', ['-q', '-D'], {
    env: { ...process.env, SSH_AUTH_SOCK: agent.socket },
    stdio: 'pipe',
  })
}

async function works(...args: Parameters<typeof connected>): Promise<void> {
  const host = await connected(...args)
  expect(await host.exec(['true'], remote())).toMatchObject({ code: 0 })
  host.close()
}

describe('a login', () => {
  it.each(['ed25519', 'rsa', 'ecdsa'])(
    'succeeds with a key of type %s, to a host key of that type',
    async (type) => {
      const key = makeKey(folder, `login-${type}`, type)
      const other = await startSshd({ hostKeyType: type, authorizedKeys: [`${key}.pub`] })
      await works(other.target({ identityFiles: [key] }))
      await other.stop()
    },
  )

  it('tries one file after another', async () => {
    await works(sshd.target({ identityFiles: [stranger, join(folder, 'missing'), sshd.identityFile] }))
  })

  it('names the tried keys when it is refused', async () => {
    await expect(connected(sshd.target({ identityFiles: [stranger] }))).rejects.toMatchObject({
      code: 'UNREACHABLE',
      exitCode: 4,
      message: expect.stringContaining(`refuses the login of '${sshd.user}' with ${stranger}`),
    })
  })

  it('does not even connect without any key', async () => {
    const target = sshd.target({ identityFiles: [join(folder, 'missing')], port: 1 })
    await expect(connected(target)).rejects.toMatchObject({
      message: expect.stringContaining('hydra-ops has no key to log in'),
      detail: expect.stringContaining('ENOENT'),
    })
  })

  it('points to ssh-add when its key has a passphrase and there is no agent', async () => {
    const target = sshd.target({ identityFiles: [encrypted] })
    await expect(connected(target)).rejects.toMatchObject({
      hint: `'${encrypted}' is protected by a passphrase, so only an agent can use the key: ssh-add '${encrypted}'`,
    })
  })

  it('uses the agent when the agent holds the key', async () => {
    addToAgent(encrypted)
    const target = sshd.target({ identityFiles: [encrypted], useAgent: true })
    await works(target, {}, testSsh({ env: { SSH_AUTH_SOCK: agent.socket } }))
    await works({ ...target, identityFiles: [], agentSocket: agent.socket })
    await works({ ...target, identityFiles: [`${encrypted}.pub`], agentSocket: agent.socket })
    emptyAgent()
  })

  it('does not use the agent when that is disabled', async () => {
    addToAgent(encrypted)
    const target = sshd.target({ identityFiles: [encrypted], useAgent: false })
    await expect(connected(target, {}, testSsh({ env: { SSH_AUTH_SOCK: agent.socket } }))).rejects.toThrow(
      'hydra-ops has no key',
    )
    emptyAgent()
  })

  it('gets through with a full agent when only listed identities count', async () => {
    const crowd = Array.from({ length: 7 }, (_, index) => makeKey(folder, `crowd-${index}`))
    for (const key of crowd) addToAgent(key)
    const ssh = testSsh({ env: { SSH_AUTH_SOCK: agent.socket } })
    const target = sshd.target({ useAgent: true })
    // sshd lets one connection try six keys (MaxAuthTries).
    await expect(connected(target, {}, ssh)).rejects.toMatchObject({
      hint: expect.stringContaining('IdentitiesOnly'),
    })
    await works({ ...target, identitiesOnly: true }, {}, ssh)
    addToAgent(encrypted)
    await works({ ...target, identityFiles: [encrypted] }, {}, ssh)
    emptyAgent()
  })

  it('goes on to the files when the agent does not answer', async () => {
    await works(sshd.target({ useAgent: true, agentSocket: join(folder, 'no agent') }))
  })

  it('follows deployment.sshOptions', async () => {
    const sshOptions = ['-p', String(sshd.port), '-i', sshd.identityFile]
    await works(sshd.target({ port: 1, identityFiles: [], sshOptions }))
  })
})

describe('a host key', () => {
  it('is refused with both fingerprints when it changed', async () => {
    const before = sshd.hostKey
    const other = await startSshd()
    const error = await connected(other.target({ hostKey: before })).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'HOST_KEY_CHANGED', machine: 'web' })
    for (const key of [before, other.hostKey]) {
      expect(error).toHaveProperty('detail', expect.stringContaining(fingerprintOf(key)))
    }
    await other.stop()
  })

  it('counts as changed when its type is not that of the pinned key, and is shown', async () => {
    const other = await startSshd({ hostKeyType: 'rsa' })
    const error = await connected(other.target({ hostKey: sshd.hostKey })).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'HOST_KEY_CHANGED' })
    expect(error).toHaveProperty('detail', expect.stringContaining(fingerprintOf(other.hostKey)))
    await other.stop()
  })

  it('is confirmed by the user when it is not known, and returned to be pinned', async () => {
    const seen: HostKeySeen[] = []
    const { host, hostKey } = await testSsh().connect(sshd.target({ hostKey: undefined }), {
      signal: never,
      timeoutMs: 60_000,
      acceptHostKey: async (shown) => {
        seen.push(shown)
        return true
      },
    })
    expect(seen).toEqual([{ key: sshd.hostKey, fingerprint: fingerprintOf(sshd.hostKey) }])
    expect(hostKey).toBe(sshd.hostKey)
    expect(host.target.hostKey).toBe(sshd.hostKey)
    host.close()
  })

  it('is refused when it is not known and nobody answers, or the answer is no', async () => {
    const target = sshd.target({ hostKey: undefined })
    await expect(connected(target)).rejects.toMatchObject({ code: 'HOST_KEY_UNKNOWN' })
    await expect(connected(target, { acceptHostKey: async () => false })).rejects.toMatchObject({
      code: 'HOST_KEY_UNKNOWN',
      hint: expect.stringContaining('--accept-host-key'),
    })
  })
})

describe('many connections at once', () => {
  it('all succeed, although sshd drops some at first (MaxStartups)', async () => {
    const shy = await startSshd({ config: ['MaxStartups 2:100:2'] })
    const hosts = await Promise.all(Array.from({ length: 8 }, () => connected(shy.target())))
    expect(shy.log()).toMatch(/MaxStartups|beginning/)
    for (const host of hosts) host.close()
    await shy.stop()
  })
})

describe('a cancelled connection', () => {
  it('ends at once', async () => {
    const cancel = new AbortController()
    const connecting = connected(sshd.target(), { signal: cancel.signal })
    cancel.abort()
    await expect(connecting).rejects.toMatchObject({ code: 'INTERRUPTED' })
  })
})

function fingerprintOf(key: string): string {
  const file = join(folder, 'shown.pub')
  writeFileSync(file, `${key}\n`)
  const line = execFileSync('ssh-keygen', ['-l', '-f', file], { encoding: 'utf8' })
  expect(readFileSync(file, 'utf8')).toContain(key)
  return line.split(' ')[1] ?? ''
}
