import { expect, it } from 'vitest'
import { withDeadline } from '../../src/core/deadline.js'
import { failure, OpsError, throwIfAborted } from '../../src/core/errors.js'
import { pause } from '../../src/core/pause.js'
import { bounded } from '../../src/ssh/bounded.js'
import { Slots } from '../../src/ssh/slots.js'
import { errorOf } from '../state/temporary-store.js'

/** Returns a signal that fired because its deadline passed. */
async function late(): Promise<AbortSignal> {
  const { signal } = withDeadline(new AbortController().signal, 1)
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
  return signal
}

function cancelled(): AbortSignal {
  return withDeadline(AbortSignal.abort(), 60_000).signal
}

const waits: readonly [string, (signal: AbortSignal) => unknown][] = [
  ['a check between two steps', (signal) => throwIfAborted(signal)],
  ['a pause', (signal) => pause(60_000, signal)],
  [
    'a command over ssh',
    (signal) =>
      bounded(
        new Promise(() => {}),
        { signal, timeoutMs: 60_000 },
        { what: 'x', late: () => failure('X', 'x') },
      ),
  ],
  ['a free channel', (signal) => new Slots(0).take(signal)],
]

it.each(waits)(
  '%s ends by a deadline as a deadline, with another exit status than Ctrl-C',
  async (_what, wait) => {
    const error = await errorOf(async () => wait(await late()))
    expect(error).toBeInstanceOf(OpsError)
    expect(error).toMatchObject({
      code: 'DEADLINE',
      exitCode: 1,
      message: expect.stringContaining('the deadline of 0.001 s'),
    })
    expect(String(error)).not.toContain('interrupted')
  },
)

it.each(waits)(
  '%s ends by Ctrl-C as an interruption, also under a deadline that is not over',
  async (_what, wait) => {
    expect(await errorOf(() => wait(cancelled()))).toMatchObject({ code: 'INTERRUPTED', exitCode: 130 })
  },
)

it('the error of a fired signal is the error that is shown', async () => {
  const signal = AbortSignal.abort(failure('LOST', 'the connection is lost'))
  expect(await errorOf(() => throwIfAborted(signal))).toMatchObject({ code: 'LOST' })
})
