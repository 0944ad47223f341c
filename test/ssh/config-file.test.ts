import { describe, expect, it } from 'vitest'
import { MachineName } from '../../src/core/names.js'
import { renderConfig } from '../../src/ssh/config-file.js'
import { sshTarget } from '../fixtures/sshd-target.js'

const hostKey = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGpIxCj68bvynz61R5Osa+XN8/tQGT4mU4Ht7SFll91H'
const files = { knownHosts: '/state/known_hosts' }
const place = { env: {}, homeDir: '/home/me' }

function block(changes: Parameters<typeof sshTarget>[0]): string[] {
  return renderConfig([sshTarget(changes)], files, place)
    .config.split('\n')
    .map((line) => line.trim())
}

describe('renderConfig', () => {
  it('describes a machine of ours completely', () => {
    const target = sshTarget({
      host: '127.0.0.1',
      port: 24231,
      hostKey,
      identityFiles: ['/state/keys/id_ed25519'],
    })
    expect(renderConfig([target], files, place)).toEqual({
      config: `Host web
  HostKeyAlias hydra-ops-web
  UserKnownHostsFile "/state/known_hosts"
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  UpdateHostKeys no
  HostKeyAlgorithms ssh-ed25519
  HostName 127.0.0.1
  Port 24231
  User root
  IdentityFile "/state/keys/id_ed25519"
  IdentitiesOnly yes
  IdentityAgent none
  ConnectTimeout 30
  ServerAliveInterval 15
  ServerAliveCountMax 4
`,
      knownHosts: `hydra-ops-web ${hostKey}\n`,
    })
  })

  it('has one block and one known host per machine', () => {
    const db = sshTarget({ machine: MachineName.parse('db'), hostKey })
    const { config, knownHosts } = renderConfig([sshTarget({ hostKey }), db], files, place)
    expect(config.match(/^Host .*$/gm)).toEqual(['Host web', 'Host db'])
    expect(knownHosts.split('\n')).toHaveLength(3)
  })

  it('knows no key of a host that was never contacted, so that ssh refuses the host', () => {
    expect(renderConfig([sshTarget()], files, place).knownHosts).toBe('')
    expect(block({}).join('\n')).not.toContain('HostKeyAlgorithms')
  })

  it('quotes paths, and escapes characters that ssh would expand', () => {
    const lines = block({ identityFiles: ['/a b/100%/key'] })
    expect(lines).toContain('IdentityFile "/a b/100%%/key"')
  })

  it.each(['/a"b', '/a\nHost *', '/${HOME}/x'])(
    'refuses the path %j, because it cannot be written',
    (file) => {
      expect(() => block({ identityFiles: [file] })).toThrow('cannot be written into an ssh configuration')
    },
  )

  it('writes a jump as a command that uses the user’s own configuration and asks nobody', () => {
    expect(block({ jump: 'me@jump:2222' })).toContain(
      "ProxyCommand ssh -o BatchMode=yes -o StrictHostKeyChecking=yes -o UpdateHostKeys=no -W '[%h]:%p' -l me -p 2222 -- jump",
    )
  })

  it('leads through several jumps', () => {
    expect(block({ jump: 'first,me@[2001:db8::1]:23' }).join('\n')).toContain(
      '-J first -l me -p 23 -- 2001:db8::1',
    )
  })

  it.each(['-oProxyCommand=id', 'a b', '$(id)', "a'b", ''])('refuses the jump %j', (jump) => {
    expect(() => block({ jump })).toThrow('is not a jump host')
  })

  it.each(['-oProxyCommand=id', 'a b', '$(id)', 'a;b', ''])('refuses the host name %j', (host) => {
    expect(() => block({ host })).toThrow('is not a host name')
  })

  it('keeps a ProxyCommand with expanded tokens unchanged', () => {
    expect(block({ proxyCommand: 'nc 192.0.2.1 22 # 100%' })).toContain(
      'ProxyCommand nc 192.0.2.1 22 # 100%%',
    )
  })

  it('lets the user’s agent in when it is to be used', () => {
    expect(block({ useAgent: true })).toContain('IdentitiesOnly no')
    expect(block({ useAgent: true, identitiesOnly: true })).toContain('IdentitiesOnly yes')
    expect(block({ useAgent: true, agentSocket: '/run/a gent' })).toContain('IdentityAgent "/run/a gent"')
  })

  it('replaces port, user and files by those of sshOptions', () => {
    const lines = block({ sshOptions: ['-p', '2222', '-l', 'me', '-i', '~/id_%r_%p'] })
    expect(lines.filter((line) => /^(Port|User|IdentityFile) /.test(line))).toEqual([
      'Port 2222',
      'User me',
      'IdentityFile "/home/me/id_me_2222"',
    ])
  })

  it('puts other sshOptions after the host key, but before its own defaults, because the first value counts', () => {
    const lines = block({ sshOptions: ['-o', 'ConnectTimeout=3', '-o', 'StrictHostKeyChecking=no'] })
    expect(lines.indexOf('ConnectTimeout 3')).toBeLessThan(lines.indexOf('ConnectTimeout 30'))
    expect(lines).not.toContain('StrictHostKeyChecking no')
  })

  it.each([
    [['-J', 'me@jump:2222']],
    [['-o', 'ProxyJump=me@jump:2222']],
    [['-o', 'proxyjump me@jump:2222', '-o', 'ProxyCommand=nc %h %p']],
  ])('writes the jump of %j as it writes one of ssh_config', (sshOptions) => {
    const lines = block({ jump: 'other', sshOptions }).filter((line) => /^proxy/i.test(line))
    expect(lines).toEqual(block({ jump: 'me@jump:2222' }).filter((line) => /^proxy/i.test(line)))
  })

  it('fills in the tokens of a ProxyCommand of sshOptions with the login that will be made', () => {
    const lines = block({ sshOptions: ['-o', 'ProxyCommand=nc %h %p # %r 100%%', '-p', '77', '-l', 'me'] })
    expect(lines).toContain('ProxyCommand nc 192.0.2.1 77 # me 100%%')
  })

  it('goes straight there when sshOptions disable the jump', () => {
    const lines = block({ jump: 'gate', sshOptions: ['-J', 'none'] })
    expect(lines.filter((line) => /^proxy/i.test(line))).toEqual([])
  })

  it('offers only algorithms that an RSA host key may sign with today', () => {
    const blob = Buffer.concat([Buffer.from([0, 0, 0, 7]), Buffer.from('ssh-rsa'), Buffer.alloc(20)])
    expect(block({ hostKey: `ssh-rsa ${blob.toString('base64')}` })).toContain(
      'HostKeyAlgorithms rsa-sha2-512,rsa-sha2-256',
    )
  })
})
