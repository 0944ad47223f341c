import { describe, expect, it } from 'vitest'
import {
  builderLine,
  builderList,
  listProblem,
  sshSettings,
  type UsedBuilder,
} from '../../src/core/builder-entries.js'
import { offerText, readOffer } from '../../src/core/builder-offer.js'
import { MachineName } from '../../src/core/names.js'
import { builderHostKey } from '../fakes/builder-peers.js'

const b1: UsedBuilder = {
  machine: MachineName.parse('b1'),
  user: 'nix-builder',
  host: 'b1',
  port: 22,
  systems: ['x86_64-linux', 'i686-linux'],
  maxJobs: 4,
  speedFactor: 2,
  supportedFeatures: ['big-parallel'],
  mandatoryFeatures: ['benchmark'],
  hostKey: builderHostKey,
}
const keyFile = '/etc/hydra/builders-key/key'
const key64 = Buffer.from(`${builderHostKey}\n`).toString('base64')

describe('a line of the list of builders', () => {
  it('has the fields of nix.conf(5), and the content of the public key file', () => {
    expect(builderLine(b1, { reader: 'queue runner', keyFile, drained: false })).toBe(
      `nix-builder@b1 x86_64-linux,i686-linux ${keyFile} 4 2 big-parallel,benchmark benchmark ${key64}`,
    )
  })

  it('names a store for a daemon', () => {
    expect(builderLine(b1, { reader: 'daemon', keyFile, drained: false })).toMatch(/^ssh:\/\/nix-builder@b1 /)
  })

  it('stays while the builder is drained, and offers no job', () => {
    const line = builderLine(b1, { reader: 'queue runner', keyFile, drained: true })
    expect(line.split(' ')[3]).toBe('0')
    expect(listProblem(builderList([line]))).toBeUndefined()
  })

  it('has a hyphen for an empty list of features', () => {
    const plain = { ...b1, supportedFeatures: [], mandatoryFeatures: [] }
    expect(builderLine(plain, { reader: 'queue runner', keyFile, drained: false })).toContain(' 4 2 - - ')
  })
})

describe('an offer', () => {
  it('is the same after it was written and read', () => {
    const { machine: _, hostKey: __, ...offer } = b1
    const mandatory = { ...offer, supportedFeatures: ['big-parallel', 'benchmark'] }
    expect(readOffer(offerText(mandatory))).toEqual(mandatory)
    const bare = { ...offer, supportedFeatures: [], mandatoryFeatures: [], port: 2222 }
    expect(readOffer(offerText(bare))).toEqual(bare)
  })

  it.each([undefined, '', 'nix-builder@b1', 'b1:22 x86_64-linux 4 1 - -', 'u@b1:22 x86_64-linux four 1 - -'])(
    'is none if the state holds %j',
    (text) => {
      expect(readOffer(text)).toBeUndefined()
    },
  )
})

describe('the check of a list of builders', () => {
  const sound = builderLine(b1, { reader: 'queue runner', keyFile, drained: false })

  it('accepts comments, blank lines, and short lines of other hands', () => {
    expect(listProblem(`# a comment\n\n${sound}\nlocalhost x86_64-linux - 2 1\n`)).toBeUndefined()
  })

  it.each([
    [
      'a host key that is not in base64',
      sound.replace(key64, `%${key64}`),
      'line 2: the host key is not in base64',
    ],
    [
      'a host key that ends early',
      sound.replace(key64, key64.slice(0, 20)),
      'line 2: the host key is not a public key of ssh',
    ],
    [
      'base64 of something else',
      sound.replace(key64, 'aGVsbG8='),
      'line 2: the host key is not a public key of ssh',
    ],
    ['a builder twice', `${sound}\n${sound}`, 'line 3: nix-builder@b1 is listed twice'],
    [
      'a number of jobs in words',
      sound.replace(' 4 2 ', ' four 2 '),
      'line 2: maxJobs is four, not a number',
    ],
    ['a relative key', sound.replace(keyFile, 'key'), 'line 2: the key key is not an absolute path'],
    ['a field too many', `${sound} more`, 'line 2: 9 fields, but a builder has at most 8'],
    ['an empty system', sound.replace('i686-linux', ''), 'line 2: the name of a system is missing'],
    [
      'a mandatory feature that is not offered',
      sound.replace('big-parallel,benchmark', 'big-parallel'),
      'line 2: the mandatory feature benchmark is not among the features',
    ],
  ])('refuses %s', (_, lines, problem) => {
    expect(listProblem(builderList([lines]))).toBe(problem)
  })
})

describe('the settings of ssh for builders', () => {
  it('end a login whose builder is frozen, and concern logins to builders alone', () => {
    expect(sshSettings([b1], 'builders')).toContain(
      'Match originalhost b1 user nix-builder\n  ServerAliveInterval 15\n  ServerAliveCountMax 4\n',
    )
    expect(sshSettings([b1], 'builders')).not.toContain('Port')
  })

  it('end an attempt after a while, where every build would wait for it', () => {
    expect(sshSettings([{ ...b1, connectTimeout: 20 }], 'builder-caches')).toContain(
      'Match originalhost b1 user nix-builder\n  ConnectTimeout 20\n',
    )
  })

  it('keep the bare name of the pinned key where the port is another one', () => {
    expect(sshSettings([{ ...b1, port: 2222 }], 'builders')).toContain('  Port 2222\n  HostKeyAlias b1\n')
  })
})
