import { expect, it } from 'vitest'
import { inNaturalOrder } from '../../src/network/natural-order.js'

it.each([
  [
    ['web10', 'web2', 'web1', 'db'],
    ['db', 'web1', 'web2', 'web10'],
  ],
  [
    ['b', 'A', 'a', 'C'],
    ['A', 'a', 'b', 'C'],
  ],
  [
    ['web', 'web-2', 'web-10', 'web-a'],
    ['web', 'web-2', 'web-10', 'web-a'],
  ],
  [
    ['w7', 'w07', 'w8'],
    ['w07', 'w7', 'w8'],
  ],
  [
    ['10.0.0.9', '10.0.0.10'],
    ['10.0.0.9', '10.0.0.10'],
  ],
  [
    ['9', 'a'],
    ['9', 'a'],
  ],
])('names are sorted in natural order: %j', (names, sorted) => {
  expect(inNaturalOrder(names)).toEqual(sorted)
  expect(inNaturalOrder([...names].reverse())).toEqual(sorted)
})
