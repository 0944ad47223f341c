import { describe, expect, it } from 'vitest'
import { type Expansion, parseSshG, readUserConfig } from '../../src/ssh/user-config.js'

// These are the relevant lines of a recorded `ssh -G` (OpenSSH 9.2).
const defaults = `host web
user me
hostname web
port 22
identitiesonly no
identityfile ~/.ssh/id_rsa
identityfile ~/.ssh/id_ed25519
userknownhostsfile /home/me/.ssh/known_hosts /home/me/.ssh/known_hosts2
`

function read(text: string, changes: Partial<Expansion> = {}) {
  return readUserConfig(parseSshG(text), {
    env: { AGENT: '/run/agent', WHERE: '/mnt' },
    homeDir: '/home/me',
    host: 'web',
    user: 'me',
    exists: () => true,
    ...changes,
  })
}

describe('readUserConfig', () => {
  it('reads the defaults', () => {
    expect(read(defaults)).toEqual({
      hostName: 'web',
      port: 22,
      user: 'me',
      identityFiles: ['/home/me/.ssh/id_rsa', '/home/me/.ssh/id_ed25519'],
      certificateFiles: [],
      identitiesOnly: false,
      jump: undefined,
      proxyCommand: undefined,
      useAgent: true,
      agentSocket: undefined,
    })
  })

  it('drops identity files that do not exist', () => {
    const exists = (file: string) => file === '/home/me/.ssh/id_ed25519'
    expect(read(defaults, { exists }).identityFiles).toEqual(['/home/me/.ssh/id_ed25519'])
  })

  it('keeps the public half of a key that only an agent holds', () => {
    const exists = (file: string) => file === '/home/me/.ssh/id_rsa.pub'
    expect(read(defaults, { exists }).identityFiles).toEqual(['/home/me/.ssh/id_rsa.pub'])
  })

  it.each([
    ['~/keys/%h-%r-%p', '/home/me/keys/10.0.0.1-root-2222'],
    ['%d/.ssh/%n.%u', '/home/me/.ssh/web.me'],
    ['/keys/100%%', '/keys/100%'],
    ['${WHERE}/key', '/mnt/key'],
    ['relative', '/home/me/relative'],
    ['"/with space/key"', '/with space/key'],
  ])('expands %s', (given, expected) => {
    const text = `hostname 10.0.0.1\nuser root\nport 2222\nidentityfile ${given}\n`
    expect(read(text).identityFiles).toEqual([expected])
  })

  it('takes a jump as written', () => {
    expect(read(`${defaults}proxyjump j1,me@j2:2222\n`).jump).toBe('j1,me@j2:2222')
  })

  it('expands a ProxyCommand', () => {
    expect(read(`${defaults}proxycommand nc -X 5 %h %p # %% %r\n`).proxyCommand).toBe('nc -X 5 web 22 # % me')
  })

  it('takes the word none for nothing', () => {
    expect(read('identityfile none\nproxyjump none\nproxycommand none\n')).toMatchObject({
      identityFiles: [],
      jump: undefined,
      proxyCommand: undefined,
    })
  })

  it.each([
    ['none', false, undefined],
    ['SSH_AUTH_SOCK', true, undefined],
    ['~/a.sock', true, '/home/me/a.sock'],
    ['$AGENT', true, '/run/agent'],
    ['$NO_SUCH_AGENT', false, undefined],
  ])('understands the agent %s', (given, useAgent, agentSocket) => {
    expect(read(`identityagent ${given}\n`)).toMatchObject({ useAgent, agentSocket })
  })

  it('reads IdentitiesOnly', () => {
    expect(read('identitiesonly yes\n').identitiesOnly).toBe(true)
  })
})
