import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Ssh, SshTarget } from '../../src/core/ssh.js'
import { makeKey, type Sshd, startSshd } from '../fixtures/sshd.js'
import {
  connected,
  never,
  remote,
  testSsh,
  type UserSshConfigFixture,
  userSshConfig,
} from '../fixtures/sshd-session.js'

const run = { signal: never, log: () => {} }
const anyLogin = { user: undefined, port: undefined, sshOptions: [] }
let user: UserSshConfigFixture
let ssh: Ssh
/** The target of the jump, and the jump host itself. */
let sshd: Sshd
let gate: Sshd

beforeAll(async () => {
  user = userSshConfig('')
  ssh = testSsh({ env: user.env, homeDir: user.folder })
  sshd = await startSshd()
  gate = await startSshd()
})

afterAll(async () => {
  await sshd.stop()
  await gate.stop()
  user.remove()
})

const knownHosts = () => join(user.folder, 'known_hosts')

function userConfig(more: string): void {
  user.write(`Host gate second-gate
  HostName 127.0.0.1
  Port ${gate.port}
  User ${gate.user}
  IdentityFile ${gate.identityFile}
  IdentitiesOnly yes
  UserKnownHostsFile "${knownHosts()}"
${more}
`)
}

beforeEach(() => {
  writeFileSync(knownHosts(), `[127.0.0.1]:${gate.port} ${gate.hostKey}\n`)
  userConfig('')
})

async function answersThrough(target: SshTarget): Promise<void> {
  await ssh.waitForBanner(target, { signal: never, timeoutMs: 60_000 })
  const host = await connected(target, {}, ssh)
  const big = 'x'.repeat(3_000_000)
  expect((await host.exec(['cat'], remote({ stdin: big }))).stdout).toBe(big)
  host.close()
}

describe('a jump', () => {
  it('carries commands to the machine', async () => {
    const before = connectionsOf(gate)
    await answersThrough(sshd.target({ jump: 'gate' }))
    expect(connectionsOf(gate)).toBeGreaterThan(before)
  })

  it('may be written with user and port', async () => {
    userConfig('')
    await answersThrough(sshd.target({ jump: `${gate.user}@gate:${gate.port}` }))
    await answersThrough(sshd.target({ jump: `ssh://${gate.user}@gate:${gate.port}` }))
  })

  it('may be replaced by a command of the user', async () => {
    await answersThrough(sshd.target({ proxyCommand: `ssh -W 127.0.0.1:${sshd.port} gate` }))
  })

  it('does not hide a changed host key behind it, which is refused', async () => {
    const target = sshd.target({ jump: 'gate', hostKey: gate.hostKey })
    await expect(connected(target, {}, ssh)).rejects.toMatchObject({ code: 'HOST_KEY_CHANGED' })
  })

  it('fails at once when its own key is not known, and writes nothing', async () => {
    writeFileSync(knownHosts(), '')
    const target = sshd.target({ jump: 'gate' })
    await expect(connected(target, {}, ssh)).rejects.toMatchObject({
      code: 'UNREACHABLE',
      message: expect.stringContaining('through its jump host'),
      detail: expect.stringContaining('Host key verification failed'),
    })
    await expect(ssh.waitForBanner(target, { signal: never, timeoutMs: 60_000 })).rejects.toThrow(
      'Host key verification failed',
    )
    expect(readFileSync(knownHosts(), 'utf8')).toBe('')
  })

  it('is an error that says so when it refuses the login', async () => {
    const stranger = makeKey(user.folder, 'stranger')
    userConfig('')
    user.write(user.read().replace(gate.identityFile, `"${stranger}"`))
    await expect(connected(sshd.target({ jump: 'gate' }), {}, ssh)).rejects.toMatchObject({
      detail: expect.stringContaining('Permission denied'),
    })
  })

  it('is an error that says so when nothing listens on its port', async () => {
    await expect(connected(sshd.target({ jump: 'gate', port: 1 }), {}, ssh)).rejects.toMatchObject({
      code: 'UNREACHABLE',
      detail: expect.stringContaining('open failed'),
    })
  })

  it('is an error that names ssh when that program is missing', async () => {
    const without = testSsh({ env: { PATH: '/nonexistent' } })
    await expect(connected(sshd.target({ jump: 'gate' }), {}, without)).rejects.toThrow(
      "the program 'ssh' is not installed",
    )
  })
})

describe('the generated configuration', () => {
  interface Ended {
    readonly code: number
    readonly stdout: string
    readonly stderr: string
  }

  function systemSsh(targets: readonly SshTarget[], ...words: string[]): Promise<Ended> {
    const files = { knownHosts: join(user.folder, 'our known_hosts') }
    const rendered = ssh.renderConfig(targets, files)
    const config = join(user.folder, 'our config')
    writeFileSync(config, rendered.config)
    writeFileSync(files.knownHosts, rendered.knownHosts)
    return new Promise((resolve) => {
      // The test runs ssh without the stand-in, because it tests -F; an inner jump uses the user's configuration.
      const argv = ['-F', config, ...words]
      execFile('/usr/bin/ssh', argv, { env: { ...process.env, ...user.env } }, (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
      )
    })
  }

  it('lets ssh in by the name of the machine', async () => {
    expect(await systemSsh([sshd.target()], 'web', 'echo in')).toEqual({
      code: 0,
      stdout: 'in\n',
      stderr: '',
    })
  })

  it('leads through a jump', async () => {
    const { code, stdout } = await systemSsh([sshd.target({ jump: 'gate' })], 'web', 'echo in')
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'in\n' })
  })

  it.each(['-J', '-oProxyJump='])('leads through a jump of sshOptions, given by %s', async (flag) => {
    const target = sshd.target({ sshOptions: flag === '-J' ? ['-J', 'gate'] : [`${flag}gate`] })
    const before = connectionsOf(gate)
    const { code, stdout } = await systemSsh([target], 'web', 'echo in')
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'in\n' })
    await answersThrough(target)
    expect(connectionsOf(gate)).toBeGreaterThan(before + 1)
  })

  it('leads through a ProxyCommand of sshOptions', async () => {
    const target = sshd.target({ sshOptions: ['-o', 'ProxyCommand=ssh -W %h:%p gate'] })
    const { code, stdout } = await systemSsh([target], 'web', 'echo in')
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'in\n' })
  })

  it('has ssh refuse another host key', async () => {
    const { code, stderr } = await systemSsh([sshd.target({ hostKey: gate.hostKey })], 'web', 'echo in')
    expect(code).toBe(255)
    expect(stderr).toMatch(/Host key verification failed|REMOTE HOST IDENTIFICATION/)
  })

  it('has ssh refuse a host that was never contacted', async () => {
    const { code, stderr } = await systemSsh([sshd.target({ hostKey: undefined })], 'web', 'echo in')
    expect(code).toBe(255)
    expect(stderr).toContain('Host key verification failed')
  })

  it('is understood by ssh with every option that exists', async () => {
    const target = sshd.target({
      useAgent: true,
      identitiesOnly: true,
      agentSocket: join(user.folder, 'a gent'),
      identityFiles: [join(user.folder, '100% odd é')],
      proxyCommand: 'nc %h 22 # 100%',
      sshOptions: ['-C', '-o', 'ConnectTimeout=3', '-i', '/k'],
    })
    const { code, stdout } = await systemSsh([target], '-G', 'web')
    expect(code).toBe(0)
    expect(stdout).toContain('connecttimeout 3\n')
    expect(stdout).toContain('compression yes\n')
  })
})

describe('the user’s configuration', () => {
  it('is asked for a host', async () => {
    userConfig(`Host web
  HostName 10.0.0.%h
  Port 2222
  User deploy
  IdentityFile "${user.folder}/%n %r key"
  IdentityFile ~/missing
  ProxyJump gate
  IdentityAgent none
`)
    writeFileSync(join(user.folder, 'web deploy key'), '')
    expect(await ssh.resolveUserConfig('web', run, anyLogin)).toEqual({
      hostName: '10.0.0.web',
      port: 2222,
      user: 'deploy',
      identityFiles: [join(user.folder, 'web deploy key')],
      certificateFiles: [],
      identitiesOnly: false,
      jump: 'gate',
      proxyCommand: undefined,
      useAgent: false,
      agentSocket: undefined,
    })
  })

  it.each(['-oProxyCommand=touch /tmp/x', '$(id)', 'a b'])('refuses %j as a host', async (host) => {
    await expect(ssh.resolveUserConfig(host, run, anyLogin)).rejects.toMatchObject({ exitCode: 2 })
  })

  it('is an error with its file and line when it has a mistake', async () => {
    userConfig('NoSuchKeyword yes')
    await expect(ssh.resolveUserConfig('web', run, anyLogin)).rejects.toMatchObject({
      code: 'SSH_CONFIG',
      detail: expect.stringContaining('line 8: Bad configuration option: nosuchkeyword'),
    })
  })
})

/** Returns one more than the number of logins that a server has recorded; tests compare two such numbers. */
function connectionsOf(server: Sshd): number {
  return server.log().split('Accepted publickey').length
}
