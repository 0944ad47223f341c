import { expect, it } from 'vitest'
import { ago } from '../../src/operations/restore-snapshot.js'

it.each([
  ['2026-01-01T00:00:00Z', '2 days ago'],
  ['2026-01-02T22:30:00Z', '1 hour ago'],
  ['2026-01-02T23:58:30Z', '1 minute ago'],
  ['2026-01-02T23:59:59.600Z', '0 seconds ago'],
  ['2026-01-03T00:00:09Z', '0 seconds ago'],
])('at midnight of 3 January, %s is %s', (at, text) => {
  expect(ago(new Date('2026-01-03T00:00:00Z'), at)).toBe(text)
})
