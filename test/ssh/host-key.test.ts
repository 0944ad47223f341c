import { describe, expect, it } from 'vitest'
import { fingerprint, hostKeyChanged, hostKeyUnknown, parseHostKey, seenKey } from '../../src/ssh/host-key.js'
import { sshTarget } from '../fixtures/sshd-target.js'

// ssh-keygen generated this key for the test; the fingerprint is the output of `ssh-keygen -l`.
const line = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGpIxCj68bvynz61R5Osa+XN8/tQGT4mU4Ht7SFll91H a comment'

describe('host keys', () => {
  it('are read with and without a comment', () => {
    const key = parseHostKey(line, 'web')
    expect(key.type).toBe('ssh-ed25519')
    expect(seenKey(key.blob).key).toBe(line.replace(' a comment', ''))
  })

  it.each([
    '',
    'ssh-ed25519',
    'ssh-ed25519 AAAA',
    'ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIJfP',
    'ssh-dss AAAAB3NzaC1kc3M=',
  ])('are a mistake of the user when they are malformed (%j), and the machine is named', (text) => {
    expect(() => parseHostKey(text, 'web')).toThrow("machine 'web'")
  })

  it('have the fingerprint that OpenSSH shows', () => {
    expect(fingerprint(parseHostKey(line, 'web').blob)).toBe(
      'SHA256:071dZhJ/AQ61BKKBwH06YMavSV/nqgxvh+pyEntRW48',
    )
  })
})

describe('an unexpected host key', () => {
  const pinned = parseHostKey(line, 'web')
  const seen = { key: 'ssh-ed25519 OTHER', fingerprint: 'SHA256:other' }

  it('is refused with both fingerprints when it changed', () => {
    const error = hostKeyChanged(sshTarget(), pinned, seen)
    expect(error).toMatchObject({ code: 'HOST_KEY_CHANGED', machine: 'web' })
    expect(error).toHaveProperty('detail', expect.stringContaining(fingerprint(pinned.blob)))
    expect(error).toHaveProperty('detail', expect.stringContaining('SHA256:other'))
  })

  it('may be intended on an existing host, so the error shows the option to set', () => {
    expect(hostKeyChanged(sshTarget({ existingHost: true }), pinned, seen)).toHaveProperty(
      'hint',
      expect.stringContaining('deployment.targetHostKey = "ssh-ed25519 OTHER"'),
    )
  })

  it('is blamed on a change by hand on a machine of ours', () => {
    expect(hostKeyChanged(sshTarget(), pinned, seen)).toHaveProperty(
      'hint',
      expect.stringContaining('by hand'),
    )
  })

  it('is refused with the ways to accept it when it is not known yet', () => {
    const error = hostKeyUnknown(sshTarget(), seen)
    expect(error).toHaveProperty('hint', expect.stringContaining('--accept-host-key'))
    expect(error.message).toContain('SHA256:other')
  })
})
