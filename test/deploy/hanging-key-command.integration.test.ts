import { expect, it } from 'vitest'
import { localCommands } from '../../src/exec/local-commands.js'
import { resolveKeys } from '../../src/keys/keys.js'
import { debianMachine } from '../fakes/debian-machine.js'
import { never } from '../fixtures/sshd-session.js'
import { errorOf } from '../state/temporary-store.js'

it('a keyCommand that hangs reveals none of its output', async () => {
  const keyCommand = ['sh', '-c', 'echo hunter2; echo hunter2 >&2; exec sleep 600']
  const error = await errorOf(() =>
    resolveKeys(debianMachine({ keys: { db: { keyCommand } } }), {
      // The short timeout replaces the usual two minutes.
      local: { run: (argv, options) => localCommands.run(argv, { ...options, timeoutMs: 500 }) },
      run: { signal: never, log: () => {} },
      runCommands: true,
      known: new Map(),
    }),
  )
  expect(error).toMatchObject({ code: 'DEADLINE', message: expect.stringContaining('key "db": keyCommand') })
  expect(JSON.stringify(error) + String(error)).not.toContain('hunter2')
})
