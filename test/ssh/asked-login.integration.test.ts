import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { LoginRequest, UserSshConfig } from '../../src/core/ssh.js'
import { localCommands } from '../../src/exec/local-commands.js'
import { never, testSsh, type UserSshConfigFixture, userSshConfig } from '../fixtures/sshd-session.js'

let user: UserSshConfigFixture
/** The number of programs that were started since a test set it to 0. */
let questions = 0
beforeEach(() => {
  user = userSshConfig('')
})
afterEach(() => user.remove())

/** Returns the answer of the real `ssh -G` for a host of this configuration; `wrapper` starts it. */
function ask(
  config: string,
  login: Partial<LoginRequest>,
  wrapper: readonly string[] = [],
): Promise<UserSshConfig> {
  user.write(config)
  const local = {
    ...localCommands,
    run: (argv: readonly string[], options: Parameters<typeof localCommands.run>[1]) => {
      questions += 1
      return localCommands.run([...wrapper, ...argv], options)
    },
  }
  const ssh = testSsh({ local, env: user.env, homeDir: user.folder })
  return ssh.resolveUserConfig(
    'web.example.org',
    { signal: never, log: () => {} },
    { user: undefined, port: undefined, sshOptions: [], ...login },
  )
}

describe('the user’s ssh configuration, asked for the login that will be made,', () => {
  // A bug report said that a ProxyCommand got port 22 and the local user.
  it('gives a ProxyCommand the user and the port of the deployment', async () => {
    const { proxyCommand } = await ask('Host *.example.org\n  ProxyCommand nc -X 5 %h %p # %r\n', {
      user: 'deploy',
      port: 2222,
    })
    expect(proxyCommand).toBe('nc -X 5 web.example.org 2222 # deploy')
  })

  it('takes the block of the user who logs in', async () => {
    const config = 'Match user deploy\n  Port 2200\nMatch user other\n  Port 2300\n'
    expect(await ask(config, { user: 'deploy' })).toMatchObject({ user: 'deploy', port: 2200 })
  })

  it('finds the key that is named after the user and the port', async () => {
    const key = join(user.folder, 'id_deploy_2222')
    writeFileSync(key, '')
    const config = `Host *\n  IdentityFile ${JSON.stringify(join(user.folder, 'id_%r_%p'))}\n`
    expect((await ask(config, { user: 'deploy', port: 2222 })).identityFiles).toEqual([key])
  })

  it('leaves user, port and host name of sshOptions before those of the deployment', async () => {
    const config = 'Match user me\n  ProxyCommand nc %h %p # %r\n'
    const sshOptions = ['-l', 'me', '-p', '77', '-o', 'HostName=inner.example.org']
    expect(await ask(config, { user: 'deploy', port: 2222, sshOptions })).toMatchObject({
      user: 'me',
      port: 77,
      hostName: 'inner.example.org',
      proxyCommand: 'nc inner.example.org 77 # me',
    })
  })

  it('is asked as root when nobody names a user, since root logs in then', async () => {
    const config = 'Match user root\n  ProxyCommand nc %h %p # %r\n'
    expect(await ask(config, {})).toMatchObject({
      user: 'root',
      port: 22,
      proxyCommand: 'nc web.example.org 22 # root',
    })
  })

  it('keeps its user when the deployment names none', async () => {
    const config = 'Host *.example.org\n  User deploy\n  ProxyCommand nc %h %p # %r\n'
    expect(await ask(config, { port: 2222 })).toMatchObject({
      user: 'deploy',
      proxyCommand: 'nc web.example.org 2222 # deploy',
    })
  })

  it('is read in a user namespace, where ssh refuses included files that do not belong to root', async () => {
    const config = 'Host *.example.org\n  User deploy\n'
    const inNamespace = ['unshare', '--user', '--map-current-user', '--']
    expect(await ask(config, {}, inNamespace)).toMatchObject({ user: 'deploy' })
    expect(await ask('', {}, inNamespace)).toMatchObject({ user: 'root' })
  })

  it('takes a HostName with tokens and quotes as ssh itself does', async () => {
    for (const hostName of ['%h.internal', '"%h.internal"']) {
      const sshOptions = ['-o', `HostName=${hostName}`, '-o', 'Port="77"']
      expect(await ask('', { sshOptions })).toMatchObject({
        hostName: 'web.example.org.internal',
        port: 77,
      })
    }
  })

  it('finds the key that is named after the hash of the connection, as ssh makes it', async () => {
    const login = ['-l', 'deploy', '-p', '2222', '-o', 'ControlPath=%C', '-G', 'web.example.org']
    user.write('')
    const asked = execFileSync('ssh', login, { env: { ...process.env, ...user.env }, encoding: 'utf8' })
    const [, hash = ''] = /^controlpath (\w{40})$/m.exec(asked) ?? []
    expect(hash).not.toBe('')
    const key = join(user.folder, `id_${hash}`)
    writeFileSync(key, '')
    const config = `Host *\n  IdentityFile ${JSON.stringify(join(user.folder, 'id_%C'))}\n`
    expect((await ask(config, { user: 'deploy', port: 2222 })).identityFiles).toEqual([key])
  })

  it('fills in the tokens of a jump', async () => {
    const { jump } = await ask('Host *\n  ProxyJump %r@gate.%h:22\n', { user: 'deploy' })
    expect(jump).toBe('deploy@gate.web.example.org:22')
  })

  it.each([
    ['no User', '', {}, 'root', 2],
    ['another User', 'User deploy\n', {}, 'deploy', 2],
    ['the local user as User', `User ${userInfo().username}\n`, {}, userInfo().username, 2],
    ['a User that the deployment overrules', 'User deploy\n', { user: 'me' }, 'me', 1],
  ])(
    'starts ssh no more than needed, as each start runs every Match exec: %s',
    async (_, config, login, name, times) => {
      questions = 0
      expect(await ask(config, login)).toMatchObject({ user: name })
      expect(questions).toBe(times)
    },
  )

  it('hides our own file when it has a mistake', async () => {
    await expect(ask('NoSuchKeyword yes\n', {})).rejects.toMatchObject({
      detail: expect.stringContaining('Bad configuration option: nosuchkeyword'),
      hint: 'run ssh -G web.example.org',
    })
  })
})
