import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { never, testSsh } from '../fixtures/sshd-session.js'

const folder = mkdtempSync(join(tmpdir(), 'hydra-ops keys-'))
const ssh = testSsh()
const run = { signal: never, log: () => {} }

afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('a key pair', () => {
  it('is made once, readable by its owner alone', async () => {
    const file = join(folder, 'new', 'web', 'id_ed25519')
    const made = await ssh.ensureKeyPair(file, run)
    expect(made).toMatch(/^ssh-ed25519 AAAA\S+$/)
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(statSync(join(folder, 'new')).mode & 0o777).toBe(0o700)
    expect(readFileSync(`${file}.pub`, 'utf8')).toBe(`${made} hydra-ops\n`)
    const before = readFileSync(file, 'utf8')
    expect(await ssh.ensureKeyPair(file, run)).toBe(made)
    expect(readFileSync(file, 'utf8')).toBe(before)
    expect(execFileSync('ssh-keygen', ['-y', '-f', file], { encoding: 'utf8' })).toContain(made)
  })

  it('gets a lost public half back', async () => {
    const file = join(folder, 'half')
    const made = await ssh.ensureKeyPair(file, run)
    rmSync(`${file}.pub`)
    expect(await ssh.ensureKeyPair(file, run)).toBe(made)
    expect(readFileSync(`${file}.pub`, 'utf8')).toContain(made)
  })

  it('is made in spite of the leftovers of a crash', async () => {
    const file = join(folder, 'crashed')
    writeFileSync(`${file}.new`, 'half a key')
    writeFileSync(`${file}.new.pub`, '')
    expect(await ssh.ensureKeyPair(file, run)).toMatch(/^ssh-ed25519 /)
  })

  it('is named and never overwritten when it is damaged', async () => {
    const file = join(folder, 'damaged')
    writeFileSync(file, 'not a key')
    await expect(ssh.ensureKeyPair(file, run)).rejects.toMatchObject({
      code: 'KEY_PAIR',
      message: expect.stringContaining(`'${file}'`),
    })
    expect(readFileSync(file, 'utf8')).toBe('not a key')
  })

  const made = (...more: readonly string[]) => {
    const file = join(folder, more.join(''))
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-C', '', '-f', file, ...more])
    return file
  }
  it.each<[string, () => string]>([
    ['the private key has a passphrase', () => made('-N', 'a passphrase')],
    ['the file has a public key in place of the private key', () => `${made('-N', '')}.pub`],
    ['the private key cannot be read: ', () => mkdtempSync(join(folder, 'empty-'))],
  ])('is refused with its cause: %s', async (cause, file) => {
    await expect(ssh.ensureKeyPair(file(), run)).rejects.toMatchObject({
      code: 'KEY_PAIR',
      message: expect.stringContaining(`: ${cause}`),
    })
  })
})
