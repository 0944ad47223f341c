import { describe, expect, it } from 'vitest'
import { listProblem, type UsedBuilder } from '../../src/core/builder-entries.js'
import { buildersUsers, isForOperator } from '../../src/core/builder-options.js'
import { DebianOptions } from '../../src/core/debian-options.js'
import { MachineName } from '../../src/core/names.js'
import { daemonEntry, hasBlock, isTrusted, ownEntry } from '../../src/core/operator-builders.js'
import { builderHostKey } from '../fakes/builder-peers.js'

const b1: UsedBuilder = {
  machine: MachineName.parse('b1'),
  user: 'nix-builder',
  host: 'b1',
  port: 22,
  systems: ['x86_64-linux'],
  maxJobs: 4,
  speedFactor: 1,
  supportedFeatures: ['big-parallel'],
  mandatoryFeatures: [],
  hostKey: builderHostKey,
}
const direct = { host: 'b1.example.org', port: 22, jump: undefined, proxyCommand: undefined }
const facts = { target: direct, keyFile: '/state/builders_ed25519', drained: false }
const coded = Buffer.from(`${builderHostKey}\n`).toString('base64')

describe('the option deployment.builder.for', () => {
  const users = (wanted: unknown) => {
    const { builder } = DebianOptions.parse({ builder: { enable: true, for: wanted } })
    return [buildersUsers(builder), isForOperator(builder)]
  }

  it('names machines, the operator host, or both', () => {
    expect(users(['ci'])).toEqual([['ci'], false])
    expect(users('operator')).toEqual([['operator'], true])
    expect(users(['ci', 'operator'])).toEqual([['ci', 'operator'], true])
  })

  it('accepts only a list or the operator', () => {
    expect(DebianOptions.safeParse({ builder: { enable: true, for: 'ci' } }).success).toBe(false)
    expect(DebianOptions.safeParse({ builder: { enable: true, for: [] } }).success).toBe(false)
  })
})

describe("the line of a builder in the operator's list", () => {
  it('names the machine for a Nix that runs ssh with a configuration of ours', () => {
    const { name, line, sshBlock } = ownEntry(b1, facts)
    expect(name).toBe('ssh://nix-builder@b1')
    expect(line).toBe('ssh://nix-builder@b1 x86_64-linux - 4 1 big-parallel - -')
    expect(sshBlock).toBeUndefined()
    expect(listProblem(line)).toBeUndefined()
  })

  it('names address and host key for a daemon, which has no configuration of ours', () => {
    const { line, sshBlock } = daemonEntry(b1, 'abcd1234', facts)
    expect(line).toBe(
      `ssh://nix-builder@b1.example.org x86_64-linux /state/builders_ed25519 4 1 big-parallel - ${coded}`,
    )
    expect(sshBlock).toBeUndefined()
  })

  it('has no job for a drained builder', () => {
    expect(daemonEntry(b1, 'abcd1234', { ...facts, drained: true }).line).toContain('builders_ed25519 0 1 ')
  })

  it.each<[string, Partial<typeof direct> | { jump: string } | { proxyCommand: string }, string]>([
    ['another port', { host: '127.0.0.1', port: 2222 }, '  Port 2222\n'],
    ['a jump', { jump: 'me@jump' }, '  ProxyJump me@jump\n'],
    ['a command as the way', { proxyCommand: 'nc %h 22' }, '  ProxyCommand nc %%h 22\n'],
  ])('needs settings of ssh for root where the daemon meets %s', (_, target, setting) => {
    const { name, sshBlock } = daemonEntry(b1, 'abcd1234', { ...facts, target: { ...direct, ...target } })
    expect(name).toBe('ssh://nix-builder@hydra-ops-abcd1234-b1')
    expect(sshBlock).toMatch(/^Host hydra-ops-abcd1234-b1\n/)
    expect(sshBlock).toContain('  HostKeyAlias hydra-ops-abcd1234-b1\n')
    expect(sshBlock).toContain(setting)
  })

  it('leaves a key whose path has a space to the settings of ssh', () => {
    const { line, sshBlock } = daemonEntry(b1, 'abcd1234', { ...facts, keyFile: '/a state/key' })
    expect(line).toMatch(/^ssh:\/\/nix-builder@hydra-ops-abcd1234-b1 x86_64-linux - 4 /)
    expect(sshBlock).toContain('  IdentityFile "/a state/key"\n')
  })

  it('is usable once ssh has these settings, and not by chance', () => {
    const { sshBlock = '' } = daemonEntry(b1, 'abcd1234', {
      ...facts,
      target: { ...direct, host: '127.0.0.1', port: 2222 },
    })
    const answer = 'user root\nhostname 127.0.0.1\nport 2222\nhostkeyalias hydra-ops-abcd1234-b1\n'
    expect(hasBlock(answer, sshBlock)).toBe(true)
    expect(hasBlock(answer.replace('2222', '22'), sshBlock)).toBe(false)
    expect(hasBlock(answer.replace(/hostkeyalias.*\n/, ''), sshBlock)).toBe(false)
  })
})

describe('the trust of a Nix daemon', () => {
  it.each<[readonly string[], boolean]>([
    [['root'], false],
    [['root', 'tester'], true],
    [['root', '@wheel'], true],
    [['*'], true],
    [['root', '@users'], false],
    // An empty list means that Nix shows no such setting, so trust is assumed.
    [[], true],
  ])('in a user of the group wheel, with trusted-users %j, is %j', (trusted, expected) => {
    expect(isTrusted(trusted, { user: 'tester', groups: ['tester', 'wheel'] })).toBe(expected)
  })

  it('in root is always given', () => {
    expect(isTrusted(['somebody'], { user: 'root', groups: [] })).toBe(true)
  })
})
