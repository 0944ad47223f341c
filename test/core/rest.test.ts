import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { restEvery } from '../../src/core/rest.js'

let clock = 0
beforeEach(() => {
  clock = 0
  vi.spyOn(performance, 'now').mockImplementation(() => clock)
})
afterEach(() => {
  vi.restoreAllMocks()
})

/** Runs several workers with steps of 5 ms. Returns the number of steps before each turn of other work. */
async function stepsByTurn(workers: number, steps: number): Promise<number[]> {
  const rest = restEvery(20)
  const turns: number[] = []
  let since = 0
  let isOver = false
  const otherWork = () => {
    turns.push(since)
    since = 0
    if (!isOver) setImmediate(otherWork)
  }
  setImmediate(otherWork)
  const work = async () => {
    for (let step = 0; step < steps; step += 1) {
      await rest()
      clock += 5
      since += 1
    }
  }
  await Promise.all(Array.from({ length: workers }, work))
  isOver = true
  return turns
}

describe('a rest between the steps of a long computation', () => {
  it('lets other work run after its time, and not between quick steps', async () => {
    const turns = await stepsByTurn(1, 40)
    expect(Math.max(...turns)).toBe(4)
    expect(turns.length).toBeLessThanOrEqual(11)
  })

  it('is one rest for all workers that share it', async () => {
    // Four steps of 5 ms fill the time of 20 ms. Each of the eight workers may then still finish one step.
    expect(Math.max(...(await stepsByTurn(8, 40)))).toBeLessThanOrEqual(12)
  })
})
