import { expect, it } from 'vitest'
import { operatorRun } from '../../src/hydra/way.js'

it('a long wait for Hydra is a notice of the run', () => {
  const emitted: unknown[] = []
  const { signal } = new AbortController()
  const run = operatorRun({ signal, events: { emit: (event) => void emitted.push(event) } })
  run.log('waiting for Hydra')
  expect(emitted).toEqual([{ kind: 'notice', text: 'waiting for Hydra' }])
  expect(run.signal).toBe(signal)
})
