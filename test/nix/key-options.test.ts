import { describe, expect, it } from 'vitest'
import { keyIssues, withModernKeys } from '../../nix/key-options.js'
import { CommonOptions } from '../../src/core/common-options.js'

function issues(keys: object): string[] {
  return keyIssues(CommonOptions.parse({ keys }).keys).map(({ path, say }) => `${path.at(-1)}: ${say}`)
}

describe('a key', () => {
  it('has exactly one source; null is none', () => {
    expect(
      issues({ a: { text: '' }, b: { keyFile: '/x', text: null }, c: { keyCommand: ['pass'] } }),
    ).toEqual([])
    expect(issues({ a: {} })).toEqual([
      'a: expected exactly one of text, keyFile and keyCommand, got none of them',
    ])
    expect(issues({ a: { text: '', keyFile: '/x' } })[0]).toContain('got text and keyFile')
  })

  it.each(['a/b', '..', '.', 'a\0b'])('is a file name: not %j', (name) => {
    expect(issues({ [name]: { text: '' } })[0]).toContain('is not a file name')
    expect(issues({ key: { text: '', name } })[0]).toContain('is not a file name')
  })

  it.each(['with space', '"quotes"', '$(id)', 'line\nfeed', 'ключ'])('may be called %j', (name) => {
    expect(issues({ [name]: { text: '' } })).toEqual([])
  })

  it('has a place of its own', () => {
    const [issue] = issues({
      a: { text: '', name: 'same', destDir: '/etc//k/' },
      same: { text: '', destDir: '/etc/k' },
    })
    expect(issue).toBe(
      "same: the key goes to /etc/k/same, as key 'a' does; change the name or destDir of one key",
    )
  })

  it('must have an absolute keyFile', () => {
    expect(issues({ a: { keyFile: 'secret' } })[0]).toContain('expected a path')
  })
})

describe("Morph's secrets", () => {
  it('are named in an error when they are wrong', () => {
    const { issues: found } = withModernKeys({
      secrets: { a: { source: '/x', destination: '/y', action: ['systemctl'] } },
    })
    expect(found.map(({ path, say }) => [path.join('.'), say])).toEqual([
      ['deployment.secrets.a.action', expect.stringContaining('not supported yet')],
    ])
  })

  it('stand beside keys', () => {
    const { options } = withModernKeys({
      keys: { a: 'text' },
      secrets: { b: { source: '/x', destination: '/etc/y' } },
    })
    expect(options).toMatchObject({
      keys: { a: { text: 'text' }, b: { keyFile: '/x', name: 'y', destDir: '/etc' } },
    })
    expect(options).not.toHaveProperty('secrets')
  })
})
