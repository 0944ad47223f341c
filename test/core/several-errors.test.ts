import { describe, expect, it } from 'vitest'
import { failure, interrupted, OpsError, unreachable, usageError } from '../../src/core/errors.js'
import { settleAll } from '../../src/core/settle.js'
import { checkEach, eachInTurn, mapEach, severalErrors } from '../../src/core/several-errors.js'
import { errorOf } from '../state/temporary-store.js'

const a = usageError("machine 'a': wrong", { machine: 'a', hint: 'mend a', detail: 'log of a' })
const b = usageError("machine 'b': wrong", { machine: 'b', hint: 'mend b' })

describe('a set of errors', () => {
  it('is one error with every message, hint and detail', async () => {
    const thrown = await errorOf(() => settleAll([Promise.reject(a), Promise.resolve(1), Promise.reject(b)]))
    expect(thrown).toBeInstanceOf(OpsError)
    expect(thrown).toMatchObject({
      code: 'USAGE',
      exitCode: 2,
      message: "machine 'a': wrong\nmachine 'b': wrong",
      hint: 'mend a\nmend b',
      detail: 'log of a',
      machine: undefined,
    })
  })

  it('stays a single error when there is one, or when all say the same', () => {
    expect(severalErrors([a])).toBe(a)
    expect(severalErrors([a, usageError(a.message)])).toBe(a)
  })

  it('is reported once when the connection of a machine broke under several commands', () => {
    const lost = (machine: string, what: string) => unreachable(machine, `${what}: connection lost`)
    expect(severalErrors([lost('a', 'read x'), lost('a', 'read y')])).toMatchObject({
      exitCode: 4,
      message: 'read x: connection lost',
    })
    expect(severalErrors([lost('a', 'read x'), lost('b', 'read z')])).toMatchObject({
      message: 'read x: connection lost\nread z: connection lost',
    })
  })

  it('keeps the shared machine and code, and is a failure when they differ', () => {
    const busy = failure('PORT', "machine 'a': port taken", { machine: 'a' })
    const full = failure('NO_ROOM', "machine 'a': no room", { machine: 'a' })
    expect(severalErrors([busy, full])).toMatchObject({ code: 'SEVERAL', exitCode: 1, machine: 'a' })
    expect(severalErrors([a, full])).toMatchObject({ code: 'SEVERAL', exitCode: 1 })
  })

  it('is an interruption when one of them is', () => {
    const stop = interrupted()
    expect(severalErrors([a, stop, new Error('x')])).toBe(stop)
  })

  it('is a bug when one of them is, and still reports the others', () => {
    const thrown = severalErrors([a, new TypeError('x is undefined')])
    expect(thrown).not.toBeInstanceOf(OpsError)
    expect(thrown).toMatchObject({ message: "machine 'a': wrong\nx is undefined" })
  })

  it('is collected by a check of every item, and by work that goes on after a failure', async () => {
    const refuse = (name: string) => {
      if (name !== 'c') throw usageError(`no ${name}`)
    }
    expect(await errorOf(() => checkEach(['a', 'b', 'c'], refuse))).toMatchObject({ message: 'no a\nno b' })
    const tried: string[] = []
    const act = async (name: string) => {
      tried.push(name)
      refuse(name)
    }
    expect(await errorOf(() => eachInTurn(['a', 'b', 'c'], act))).toMatchObject({ message: 'no a\nno b' })
    expect(tried).toEqual(['a', 'b', 'c'])
  })

  it('does not grow after an interruption', async () => {
    const tried: string[] = []
    const act = async (name: string) => {
      tried.push(name)
      throw interrupted()
    }
    expect(await errorOf(() => eachInTurn(['a', 'b'], act))).toMatchObject({ exitCode: 130 })
    expect(tried).toEqual(['a'])
  })

  it('leaves the result of every item when it is empty, and no result when it has one error', async () => {
    const double = (n: number) => {
      if (n < 0) throw a
      return n * 2
    }
    expect(mapEach([1, 2], double)).toEqual([2, 4])
    expect(await errorOf(async () => mapEach([1, -2, 3], double))).toBe(a)
    expect(await settleAll([Promise.resolve('one'), Promise.resolve(2)])).toEqual(['one', 2])
  })
})
