import { expect, it } from 'vitest'
import { hasCommonCause, together } from '../../nix/joined-errors.js'
import { usageError } from '../../src/core/errors.js'

const fault = (machine: string, text: string, hint?: string) =>
  usageError(`machine '${machine}' (hydra.nix): ${text}`, {
    machine,
    ...(hint === undefined ? {} : { hint }),
  })

it('a single error stays unchanged', () => {
  const only = fault('web', 'wrong', 'fix it')
  expect(together([only])).toBe(only)
})

it('each of several faults stands on a line of its own, with its hint', () => {
  const joined = together([
    fault('web', "one\nmachine 'web' (hydra.nix): two"),
    fault('db', 'three', 'fix it'),
  ])
  expect(joined.message.split('\n')).toEqual([
    "machine 'web' (hydra.nix): one",
    "machine 'web' (hydra.nix): two",
    "machine 'db' (hydra.nix): three [fix it]",
  ])
  expect(joined.exitCode).toBe(2)
})

it('a fault of many machines stands once, and names some of them', () => {
  const joined = together(['a', 'b', 'c', 'd', 'e'].map((name) => fault(name, 'wrong', 'fix it')))
  expect(joined.message).toBe("machines 'a', 'b', 'c' and 2 more (hydra.nix): wrong")
  expect(joined.hint).toBe('fix it')
})

it('a repeated fault points to the common source of the machines', () => {
  expect(hasCommonCause([fault('a', 'x'), fault('b', 'x')])).toBe(true)
  expect(hasCommonCause([fault('a', 'x'), fault('b', 'y')])).toBe(false)
})
