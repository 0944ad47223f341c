import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { keyUnitName } from '../../src/core/key-unit-name.js'
import { keyUnitFile } from '../../src/keys/key-units.js'

describe('keyUnitName', () => {
  it('gives ordinary keys the names of NixOps', () => {
    expect(keyUnitName('db-password')).toBe('db-password-key.service')
    expect(keyUnitName('a.b_c:d')).toBe('a.b_c:d-key.service')
  })

  it('escapes characters that a unit name cannot have, as systemd-escape does', () => {
    expect(keyUnitName('a b')).toBe('a\\x20b-key.service')
    expect(keyUnitName('a@b')).toBe('a\\x40b-key.service')
    expect(keyUnitName('a\\b')).toBe('a\\x5cb-key.service')
    expect(keyUnitName('ü')).toBe('\\xc3\\xbc-key.service')
    expect(keyUnitName('.hidden')).toBe('\\x2ehidden-key.service')
  })

  it('gives no two keys one unit, and only names that systemd accepts', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.string({ minLength: 1, maxLength: 20 }), { maxLength: 20 }), (names) => {
        const units = names.map(keyUnitName)
        expect(new Set(units).size).toBe(names.length)
        for (const unit of units) expect(unit).toMatch(/^[A-Za-z0-9:_\\-][A-Za-z0-9:_.\\-]*\.service$/)
      }),
    )
  })

  it('is absent when escaping makes the name too long for systemd', () => {
    expect(keyUnitName('x'.repeat(243))).toBeDefined()
    expect(keyUnitName(' '.repeat(100))).toBeUndefined()
    expect(keyUnitFile({ name: ' '.repeat(100), path: '/run/keys/x', os: 'debian' })).toBeUndefined()
  })
})

describe('keyUnitFile', () => {
  it('is absent on NixOS, whose folder of units is read-only', () => {
    expect(keyUnitFile({ name: 'db', path: '/run/keys/db', os: 'nixos' })).toBeUndefined()
  })

  it('waits for the file without a deadline and is active while it exists', () => {
    const file = keyUnitFile({ name: 'db', path: '/run/keys/db', os: 'debian' })
    expect(file?.path).toBe('/etc/systemd/system/db-key.service')
    expect(file?.content).toContain('TimeoutStartSec=infinity')
    expect(file?.content).toContain('until -e $ARGV[0]" "/run/keys/db"\n')
    expect(file?.content).toContain('while -e $ARGV[0]" "/run/keys/db"\n')
  })

  it('is started at boot only when the key survives a boot', () => {
    expect(keyUnitFile({ name: 'db', path: '/run/keys/db', os: 'debian' })?.content).not.toContain(
      '[Install]',
    )
    expect(keyUnitFile({ name: 'db', path: '/var/run/keys/db', os: 'debian' })?.content).not.toContain(
      '[Install]',
    )
    expect(keyUnitFile({ name: 'db', path: '/etc/keys/db', os: 'debian' })?.content).toContain(
      'WantedBy=multi-user.target',
    )
  })

  it('holds strange paths as one word on one line, which systemd reads back exactly', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', minLength: 1, maxLength: 30 }), (name) => {
        const path = `/run/keys/${name}`
        const text = String(keyUnitFile({ name: 'k', path, os: 'debian' })?.content)
        const line = text.split('\n').find((each) => each.startsWith('ExecStart=')) ?? ''
        expect(readBack(line)).toBe(Buffer.from(path).toString('latin1'))
      }),
    )
  })
})

/** Reads the last quoted word as systemd does: C escapes first, then specifiers. */
function readBack(line: string): string {
  const word = /^.* "([^"]*)"$/.exec(line)?.[1] ?? ''
  return word
    .replaceAll(/\\x([0-9a-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
    .replaceAll('%%', '%')
}
