import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { typeOf } from '../../src/ssh/host-key.js'
import { loadIdentity } from '../../src/ssh/identities.js'

const folder = mkdtempSync(join(tmpdir(), 'hydra-ops-identities-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function file(name: string, text: string): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

const field = (bytes: string | Buffer) => {
  const content = Buffer.from(bytes)
  const length = Buffer.alloc(4)
  length.writeUInt32BE(content.length)
  return Buffer.concat([length, content])
}

/** Builds a key file according to OpenSSH's PROTOCOL.key, with an unreadable private part. */
function privateKey(cipher: string, publicBlob: Buffer): string {
  const one = Buffer.from([0, 0, 0, 1])
  const kdf = cipher === 'none' ? [field('none'), field('')] : [field('bcrypt'), field(Buffer.alloc(24, 1))]
  const body = Buffer.concat([
    Buffer.from('openssh-key-v1\0'),
    field(cipher),
    ...kdf,
    one,
    field(publicBlob),
    field(Buffer.alloc(64, 7)),
  ])
  return `-----BEGIN OPENSSH PRIVATE KEY-----\n${body.toString('base64')}\n-----END OPENSSH PRIVATE KEY-----\n`
}

const ed25519 = Buffer.concat([field('ssh-ed25519'), field(Buffer.alloc(32, 5))])
const securityKey = Buffer.concat([
  field('sk-ssh-ed25519@openssh.com'),
  field(Buffer.alloc(32, 5)),
  field('ssh:'),
])

describe('an identity file', () => {
  it('is reported when it is missing', () => {
    expect(loadIdentity(join(folder, 'missing'))).toMatchObject({
      kind: 'unreadable',
      reason: expect.stringContaining('ENOENT'),
    })
  })

  it('is known by its public half when it has a passphrase', () => {
    const identity = loadIdentity(file('encrypted', privateKey('aes256-ctr', ed25519)))
    expect(identity).toMatchObject({ kind: 'encrypted', blob: ed25519 })
  })

  it('is recognised with a passphrase in the format of PKCS 8', () => {
    const { privateKey: pem } = generateKeyPairSync('ed25519', {
      privateKeyEncoding: { type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' },
      publicKeyEncoding: { type: 'spki', format: 'pem' },
    })
    expect(loadIdentity(file('pkcs8', pem)).kind).toBe('encrypted')
  })

  it.each(['none', 'aes256-ctr'])('is recognised when it belongs to a security key (cipher %s)', (cipher) => {
    const identity = loadIdentity(file(`sk-${cipher}`, privateKey(cipher, securityKey)))
    expect(identity.kind).toBe('security-key')
    expect(typeOf(identity.blob ?? Buffer.alloc(0))).toBe('sk-ssh-ed25519@openssh.com')
  })

  it('selects among the agent’s keys when it is a public key', () => {
    const line = `ssh-ed25519 ${ed25519.toString('base64')} me@here\n`
    expect(loadIdentity(file('public', line))).toMatchObject({ kind: 'public', blob: ed25519 })
  })

  it.each(['', 'nonsense', '-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n'])(
    'is told apart from a file without a key (%j)',
    (text) => {
      expect(loadIdentity(file('nonsense', text)).kind).toBe('unreadable')
    },
  )
})
