import { describe, expect, it } from 'vitest'
import { suggest } from '../../src/core/suggest.js'

const verbs = ['create', 'deploy', 'destroy', 'delete', 'info', 'list', 'ssh', 'scp', 'ssh-config']

describe('suggest', () => {
  it.each([
    ['depoly', 'deploy'],
    ['deplyo', 'deploy'],
    ['destory', 'destroy'],
    ['DEPLOY', 'deploy'],
    ['inof', 'info'],
    ['sssh', 'ssh'],
    ['shh', 'ssh'],
  ])('takes %s for %s', (wanted, meant) => {
    expect(suggest(wanted, verbs)).toBe(meant)
  })

  it('completes an abbreviation that only one word has', () => {
    expect(suggest('cre', verbs)).toBe('create')
    expect(suggest('de', verbs)).toBeUndefined()
  })

  it('is silent when no word is near', () => {
    expect(suggest('frobnicate', verbs)).toBeUndefined()
    expect(suggest('', verbs)).toBeUndefined()
    expect(suggest('x', ['y'])).toBeUndefined()
    expect(suggest('web', [])).toBeUndefined()
  })

  it('prefers the nearest word, and the first of equals', () => {
    expect(suggest('wbe1', ['db1', 'web2', 'web1'])).toBe('web1')
    expect(suggest('web', ['web1', 'web2'])).toBe('web1')
  })
})
