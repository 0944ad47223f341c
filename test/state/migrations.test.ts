import { describe, expect, it } from 'vitest'
import { migrate } from '../../state/migrations.js'

/** The migrations of made-up versions. */
const steps = {
  0: (state: Record<string, unknown>) => ({ ...state, hosts: [state.host] }),
  1: ({ hosts, ...rest }: Record<string, unknown>) => ({ ...rest, machines: hosts }),
}

describe('the list of migrations', () => {
  it('takes a made-up version 0 step by step to the current one', () => {
    expect(migrate({ schemaVersion: 0, host: 'web' }, 2, steps)).toEqual({
      kind: 'current',
      from: 0,
      state: { schemaVersion: 2, host: 'web', machines: ['web'] },
    })
  })

  it('begins at the found version', () => {
    expect(migrate({ schemaVersion: 1, hosts: ['db'] }, 2, steps)).toEqual({
      kind: 'current',
      from: 1,
      state: { schemaVersion: 2, machines: ['db'] },
    })
  })

  it('leaves the current version alone', () => {
    const state = { schemaVersion: 2, machines: [] }
    expect(migrate(state, 2, steps)).toEqual({ kind: 'current', state, from: 2 })
  })

  it('does not touch the file of a newer program', () => {
    expect(migrate({ schemaVersion: 3 }, 2, steps)).toEqual({ kind: 'newer', version: 3 })
  })

  it('does not guess at a missing version, or at one that never existed', () => {
    for (const read of [undefined, null, 'text', [], {}, { schemaVersion: '1' }, { schemaVersion: -1 }]) {
      expect(migrate(read, 2, steps)).toEqual({ kind: 'alien' })
    }
    expect(migrate({ schemaVersion: 0 }, 2, {})).toEqual({ kind: 'alien' })
  })
})
