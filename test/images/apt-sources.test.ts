import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { aptSources } from '../../src/images/apt-sources.js'
import { newestDate } from '../../src/images/build-debian.js'

let etcApt: string
beforeEach(() => {
  etcApt = mkdtempSync(join(tmpdir(), 'hydra-ops-apt-'))
  mkdirSync(join(etcApt, 'sources.list.d'))
})
afterEach(() => rmSync(etcApt, { recursive: true }))

const write = (name: string, text: string) => writeFileSync(join(etcApt, name), text)

describe('the source of the packages of an image', () => {
  it('is the mirror from the user', () => {
    expect(aptSources('bookworm', { DEBIAN_MIRROR: 'http://mirror.example/debian' }, etcApt)).toBe(
      'deb http://mirror.example/debian bookworm main\n',
    )
  })

  it('is the source of this host’s own Debian, in the new style', () => {
    write(
      'sources.list.d/debian.sources',
      [
        'Types: deb',
        '# a comment in between',
        'URIs: http://mirror.example/debian',
        'Suites: bookworm bookworm-updates',
        'Components: main contrib',
        'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg',
        '',
        'Types: deb deb-src',
        'URIs: http://mirror.example/security',
        'Suites: bookworm-security',
        'Components: main',
        '',
        'Types: deb',
        'Enabled: no',
        'URIs: http://mirror.example/off',
        'Suites: bookworm',
        'Components: main',
      ].join('\n'),
    )
    const key = '[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]'
    expect(aptSources('bookworm', {}, etcApt)).toBe(
      [
        `deb ${key} http://mirror.example/debian bookworm main\n`,
        `deb ${key} http://mirror.example/debian bookworm-updates main\n`,
        'deb http://mirror.example/security bookworm-security main\n',
      ].join(''),
    )
  })

  it('is the source of this host’s own Debian, in the old style', () => {
    write(
      'sources.list',
      [
        'deb http://mirror.example/debian bookworm main contrib # ours',
        'deb-src http://mirror.example/debian bookworm main',
        'deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian bookworm-updates main',
        '# deb http://mirror.example/off bookworm main',
      ].join('\n'),
    )
    write('sources.list.d/other.list', 'deb http://vendor.example/apt bookworm stable\n')
    expect(aptSources('bookworm', {}, etcApt)).toBe(
      'deb http://mirror.example/debian bookworm main\ndeb [signed-by=/k.gpg] http://mirror.example/debian bookworm-updates main\n',
    )
  })

  it('is left to mmdebstrap on a host of another release', () => {
    write('sources.list', 'deb http://mirror.example/debian trixie main\n')
    expect(aptSources('bookworm', {}, etcApt)).toBeUndefined()
    expect(aptSources('bookworm', {}, join(etcApt, 'missing'))).toBeUndefined()
  })
})

it('the date of a package index is the date of its newest part', () => {
  const lines = 'Sat, 11 Jul 2026 10:16:37 UTC\nFri, 20 Nov 2026 02:11:10 UTC\n\n'
  expect(newestDate(lines)).toBe('20261120T021110Z')
  expect(() => newestDate('')).toThrowError(expect.objectContaining({ code: 'IMAGE_BUILD' }))
})
