import { describe, expect, it } from 'vitest'
import { createLibvirtProvider } from '../../providers/libvirt/index.js'
import { withDeadline } from '../../src/core/deadline.js'
import { localCommands } from '../../src/exec/local-commands.js'
import { plainResource } from '../providers/libvirt/plain-resource.js'
import { errorOf } from '../state/temporary-store.js'

const what = 'ask what hangs'
const hanging = ['sh', '-c', 'exec sleep 600'] as const

/** Each way to run a command on the operator host, with a command that hangs. */
const ways: readonly [string, (signal: AbortSignal) => Promise<unknown>][] = [
  ['a command', (signal) => localCommands.run(hanging, { signal, timeoutMs: 600_000, what })],
  ['a stream that is read', (signal) => localCommands.spawnReadable(hanging, { signal, what }).done],
  [
    'a stream both ways',
    (signal) =>
      new Promise((_, reject) => {
        localCommands.spawnDuplex(hanging, { signal, what }).once('error', reject)
      }),
  ],
  [
    'a provider that asks its hypervisor',
    (signal) =>
      createLibvirtProvider({
        local: { run: (_argv, options) => localCommands.run(hanging, { ...options, what }) },
      }).inspect(plainResource(), { signal, log: () => {} }),
  ],
]

describe.each(ways)('%s', (_name, start) => {
  it('reports the deadline of its caller, and is not an interruption', async () => {
    const { signal } = withDeadline(new AbortController().signal, 50)
    expect(await errorOf(() => start(signal))).toMatchObject({
      code: 'DEADLINE',
      exitCode: 1,
      message: `cannot ${what}: the deadline of 0.05 s has passed`,
    })
  })

  it('also reports a deadline that was over before it began', async () => {
    const { signal } = withDeadline(new AbortController().signal, 1)
    await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
    expect(await errorOf(() => start(signal))).toMatchObject({ code: 'DEADLINE' })
  })

  it('is an interruption when it is ended by Ctrl-C', async () => {
    const user = new AbortController()
    const { signal } = withDeadline(user.signal, 60_000)
    const ended = errorOf(() => start(signal))
    user.abort()
    expect(await ended).toMatchObject({ code: 'INTERRUPTED', exitCode: 130 })
  })
})
