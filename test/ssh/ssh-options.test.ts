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

  it('refuses what the state still holds and nobody can follow', () => {
    expect(() => parse('-F', 'file')).toThrow(
      "machine 'web': deployment.sshOptions: '-F' names another configuration file",
    )
  })

  it('never lets the check of the host key be loosened', () => {
    expect(
      parse('-o', 'StrictHostKeyChecking=no', '-o', 'userknownhostsfile=/dev/null', '-o', 'Port=1'),
    ).toEqual(['Port 1'])
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

  it('takes the first of two, as ssh does', () => {
    expect(follow('-p', '1', '-p', '2').port).toBe(1)
  })

  it('puts its identity files before the others', () => {
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

  it('returns the very target when there are none', () => {
    const plain = sshTarget()
    expect(withSshOptions(plain, place)).toBe(plain)
  })
})
