import { describe, expect, it } from 'vitest'
import { parseSshOptions, withSshOptions } from '../../src/ssh/ssh-options.js'
import { sshTarget } from '../fixtures/sshd-target.js'

const place = { env: {}, homeDir: '/home/me' }
const parse = (...sshOptions: string[]) =>
  parseSshOptions(sshTarget({ sshOptions })).map(({ keyword, value }) => `${keyword} ${value}`)

describe('parseSshOptions', () => {
  it.each([
    [['-o', 'Compression=yes'], ['Compression yes']],
    [['-oCompression=yes'], ['Compression yes']],
    [['-o Compression=yes'], ['Compression yes']],
    [['-o', 'Compression yes'], ['Compression yes']],
    [['Compression=yes'], ['Compression yes']],
    [['-p', '2222'], ['Port 2222']],
    [['-p2222'], ['Port 2222']],
    [['-p 2222'], ['Port 2222']],
    [
      ['-i', '/a b/key', '-C', '-4'],
      ['IdentityFile /a b/key', 'Compression yes', 'AddressFamily inet'],
    ],
    [
      ['-J', 'me@jump:2222', '-l', 'root'],
      ['ProxyJump me@jump:2222', 'User root'],
    ],
    [
      ['-4C', '-tp', '22'],
      ['AddressFamily inet', 'Compression yes', 'RequestTTY yes', 'Port 22'],
    ],
    [['-o', 'ProxyCommand=nc -x a=b %h %p'], ['ProxyCommand nc -x a=b %h %p']],
  ])('reads %j', (options, lines) => {
    expect(parse(...options)).toEqual(lines)
  })

  it('refuses options in the state that can no longer be followed', () => {
    expect(() => parse('-F', 'file')).toThrow(
      "machine 'web': deployment.sshOptions: '-F' names another configuration file",
    )
  })

  it('never lets the check of the host key be loosened', () => {
    expect(
      parse('-o', 'StrictHostKeyChecking=no', '-o', 'userknownhostsfile=/dev/null', '-o', 'Port=1'),
    ).toEqual(['Port 1'])
  })

  it.each([
    'KnownHostsCommand=/usr/bin/any-key %H',
    'VerifyHostKeyDNS=yes',
    'NoHostAuthenticationForLocalhost=yes',
    'knownhostscommand="/usr/bin/any-key"',
  ])('leaves out %j, which brings other host keys or none', (option) => {
    expect(parse('-o', option)).toEqual([])
  })

  it.each([
    ['HostName="a.b"', 'HostName a.b'],
    ['Port="2222"', 'Port 2222'],
    ['User="me"', 'User me'],
    ['IdentitiesOnly "yes"', 'IdentitiesOnly yes'],
    ['IdentityFile="/a b/key"', 'IdentityFile /a b/key'],
    ['CertificateFile="/a b/cert"', 'CertificateFile /a b/cert'],
    ['IdentityAgent="none"', 'IdentityAgent none'],
    ['ProxyCommand="/a b/nc" %h', 'ProxyCommand "/a b/nc" %h'],
  ])('removes the quotes as ssh does: %s', (option, line) => {
    expect(parse('-o', option)).toEqual([line])
  })
})

describe('withSshOptions', () => {
  const follow = (...sshOptions: string[]) =>
    withSshOptions(sshTarget({ sshOptions, identityFiles: ['/given'], useAgent: true }), place)

  it('follows port, user and host', () => {
    expect(follow('-p', '2222', '-l', 'me', '-o', 'HostName=192.0.2.9')).toMatchObject({
      port: 2222,
      user: 'me',
      host: '192.0.2.9',
    })
  })

  it.each([
    ['%h.internal', '192.0.2.1.internal'],
    ['"gate-%h"', 'gate-192.0.2.1'],
    ['a%%h', 'a%h'],
  ])('fills in the tokens of HostName=%s from the requested host', (name, host) => {
    expect(follow('-o', `HostName=${name}`)).toMatchObject({ host })
  })

  it('fills in %h and %n from the name in the deployment, not from the host of a configuration', () => {
    const target = sshTarget({
      host: 'web.internal',
      askedHost: 'web',
      sshOptions: ['-o', 'HostName=%h.internal', '-o', 'ProxyCommand=nc %n %h'],
    })
    expect(withSshOptions(target, place)).toMatchObject({
      host: 'web.internal',
      proxyCommand: 'nc web web.internal',
    })
  })

  it('takes the first of two values, as ssh does', () => {
    expect(follow('-p', '1', '-p', '2').port).toBe(1)
  })

  it('puts its identity files before the other files', () => {
    expect(follow('-i', '~/key').identityFiles).toEqual(['/home/me/key', '/given'])
  })

  it('follows the choice of agent', () => {
    expect(follow('-o', 'IdentityAgent=none').useAgent).toBe(false)
    expect(follow('-o', 'IdentityAgent=~/agent')).toMatchObject({
      useAgent: true,
      agentSocket: '/home/me/agent',
    })
    expect(follow('-o', 'IdentitiesOnly=yes').identitiesOnly).toBe(true)
  })

  it.each([
    ['none', false, undefined],
    ['SSH_AUTH_SOCK', true, undefined],
    ['~/agent', true, '/home/me/agent'],
    ['$AGENT', true, '/run/agent'],
    ['$NO_SUCH_AGENT', false, undefined],
  ])('puts the agent %s in the place of the agent of ssh_config', (given, useAgent, agentSocket) => {
    const sshOptions = ['-o', `IdentityAgent=${given}`]
    const target = sshTarget({ sshOptions, useAgent: true, agentSocket: '/of/ssh_config' })
    const where = { ...place, env: { AGENT: '/run/agent' } }
    expect(withSshOptions(target, where)).toMatchObject({ useAgent, agentSocket })
  })

  it('leaves the agent of ssh_config when it names none', () => {
    const target = sshTarget({ sshOptions: ['-4'], useAgent: true, agentSocket: '/of/ssh_config' })
    expect(withSshOptions(target, place)).toMatchObject({ useAgent: true, agentSocket: '/of/ssh_config' })
  })

  it('follows a jump, and a ProxyCommand with its tokens expanded', () => {
    expect(follow('-J', 'jump').jump).toBe('jump')
    expect(follow('-o', 'ProxyCommand=nc %h %p # 100%%').proxyCommand).toBe('nc 192.0.2.1 22 # 100%')
  })

  it.each([
    [['-p', '77', '-o', 'ProxyCommand=nc %h %p # %r', '-l', 'me']],
    [['-l', 'me', '-o', 'ProxyCommand=nc %h %p # %r', '-p77']],
  ])('fills in tokens last, whatever the order of %j', (sshOptions) => {
    expect(follow(...sshOptions).proxyCommand).toBe('nc 192.0.2.1 77 # me')
  })

  it('fills in the tokens of a jump, and of a key’s name', () => {
    expect(follow('-l', 'me', '-J', '%r@gate').jump).toBe('me@gate')
    expect(follow('-l', 'me', '-i', '~/.ssh/id_%r').identityFiles[0]).toBe('/home/me/.ssh/id_me')
  })

  it('lets the first of ProxyJump and ProxyCommand rule out the other', () => {
    expect(follow('-o', 'ProxyCommand=nc %h 1', '-J', 'gate')).toMatchObject({
      jump: undefined,
      proxyCommand: 'nc 192.0.2.1 1',
    })
    expect(follow('-J', 'gate', '-o', 'ProxyCommand=nc %h 1')).toMatchObject({
      jump: 'gate',
      proxyCommand: undefined,
    })
  })

  it('returns the very target when there are no options', () => {
    const plain = sshTarget()
    expect(withSshOptions(plain, place)).toBe(plain)
  })
})
