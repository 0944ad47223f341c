import { expect, it } from 'vitest'
import { ago, readAge } from '../../src/core/ages.js'

it.each([
  ['2026-01-01T00:00:00Z', '2 days ago'],
  ['2026-01-02T22:30:00Z', '1 hour ago'],
  ['2026-01-02T23:58:30Z', '1 minute ago'],
  ['2026-01-02T23:59:59.600Z', '0 seconds ago'],
  ['2026-01-03T00:00:09Z', '0 seconds ago'],
])('at midnight of 3 January, %s is %s', (at, text) => {
  expect(ago(new Date('2026-01-03T00:00:00Z'), at)).toBe(text)
})

it.each([
  ['90m', 5_400],
  ['36h', 129_600],
  ['2d', 172_800],
  ['1w', 604_800],
])('%s is a length of time', (text, seconds) => {
  expect(readAge(text, '--max-age')).toBe(seconds)
})

it.each(['', '7', '0d', '-1d', '1.5d', '2 days', '1y'])('%j is not a length of time', (text) => {
  expect(() => readAge(text, '--max-age')).toThrow(`--max-age: '${text}' is not a length of time`)
})
