import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { LoginRequest, Ssh } from '../../src/core/ssh.js'
import { localCommands } from '../../src/exec/local-commands.js'
import { never, testSsh, type UserSshConfigFixture, userSshConfig } from '../fixtures/sshd-session.js'

let user: UserSshConfigFixture
let ssh: Ssh
/** The number of programs that were started. */
let questions = 0

beforeEach(() => {
  user = userSshConfig('')
  questions = 0
  const run: typeof localCommands.run = (argv, options) => {
    questions += 1
    return localCommands.run(argv, options)
  }
  ssh = testSsh({ local: { ...localCommands, run }, env: user.env, homeDir: user.folder })
})
afterEach(() => user.remove())

const ask = (host: string, login: Partial<LoginRequest> = {}) =>
  ssh.resolveUserConfig(
    host,
    { signal: never, log: () => {} },
    { user: 'me', port: undefined, sshOptions: [], ...login },
  )

describe('the ssh configuration of several machines', () => {
  it.each([
    ['no section', ''],
    ['a section for all hosts', 'Host *\n  ProxyCommand nc %h %p # %r\n  Port 2200\n  User deploy\n'],
    ['an equals sign and a comment', '# mine\nPort = 2200\nHost *\n  ProxyJump gate\n'],
  ])('is one question to ssh with %s, and the same as its own answers', async (_, config) => {
    user.write(config)
    const logins = [
      { user: 'me', port: 22 },
      { user: 'root', port: 2201 },
    ]
    const alone = []
    for (const [index, login] of logins.entries()) {
      const own = testSsh({ env: user.env, homeDir: user.folder })
      alone.push(
        await own.resolveUserConfig(
          `m${index}.example.org`,
          { signal: never, log: () => {} },
          { ...login, sshOptions: [] },
        ),
      )
    }
    const shared = []
    for (const [index, login] of logins.entries()) shared.push(await ask(`m${index}.example.org`, login))
    expect(questions).toBe(1)
    expect(shared).toEqual(alone)
  })

  it.each([
    ['a section for some hosts', 'Host m1.*\n  Port 2200\nHost *\n'],
    ['a condition', 'Match host m1.example.org\n  Port 2200\n'],
    ['a HostName', 'HostName %h.internal\n'],
    ['an agent for each host', 'IdentityAgent ~/.agents/%h.sock\n'],
    ['names that ssh completes', 'CanonicalizeHostname no\n'],
  ])('is a question for each machine with %s', async (_, config) => {
    user.write(config)
    await ask('m1.example.org')
    await ask('m2.example.org')
    expect(questions).toBe(2)
  })

  it('is a question for each machine when an included file has a section for some hosts', async () => {
    const others = userSshConfig('Host m2.*\n  Port 2200\n')
    user.write(`Include "${others.folder}/user config"\n`)
    expect(await ask('m1.example.org')).toMatchObject({ port: 22 })
    expect(await ask('m2.example.org')).toMatchObject({ port: 2200 })
    others.remove()
  })

  it('leaves a port and a user that nobody names to the configuration', async () => {
    user.write('Port 2200\nUser deploy\n')
    expect(await ask('m1.example.org', { port: 77 })).toMatchObject({ user: 'me', port: 77 })
    expect(await ask('m2.example.org')).toMatchObject({ user: 'me', port: 2200 })
    expect(await ask('m3.example.org', { user: undefined })).toMatchObject({ user: 'deploy', port: 2200 })
    expect(await ask('m4.example.org', { user: undefined })).toMatchObject({
      hostName: 'm4.example.org',
      user: 'deploy',
      port: 2200,
    })
    // The first three questions differ in kind, and a missing user needs two programs.
    expect(questions).toBe(4)
  })

  it('is asked of ssh itself for a name that ssh changes or refuses', async () => {
    await ask('m1.example.org')
    expect((await ask('M2.example.org')).hostName).toBe('m2.example.org')
    await expect(ask('-oProxyCommand=id')).rejects.toMatchObject({ exitCode: 2 })
    expect(questions).toBe(3)
  })
})
