import { Command } from 'commander'
import { describe, expect, it } from 'vitest'
import { type DrainFlags, drainFlags, drainOf } from '../../src/commands/drain-flags.js'
import { usualDrain } from '../../src/deploy/drain.js'

function parsed(...words: string[]): DrainFlags {
  const command = new Command().exitOverride().configureOutput({ writeErr: () => {} })
  drainFlags(command)
  return command.parse(words, { from: 'user' }).opts()
}

describe('the flags of a drain', () => {
  it('let a builder be drained for an hour by default', async () => {
    expect(await drainOf(parsed())).toEqual(usualDrain)
    expect(usualDrain.deadlineMs).toBe(3_600_000)
  })

  it('set another time for running builds, in minutes', async () => {
    expect(await drainOf(parsed('--drain-deadline', '5'))).toEqual({ ...usualDrain, deadlineMs: 300_000 })
    expect(() => parsed('--drain-deadline', 'soon')).toThrow()
  })

  it('leave a builder as it is with --no-drain', async () => {
    expect(await drainOf(parsed('--no-drain'))).toBeUndefined()
  })
})
