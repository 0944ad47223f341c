import { describe, expect, it } from 'vitest'
import { migrate } from '../../state/migrations.js'

/** Versions that never were. */
const steps = {
  0: (state: Record<string, unknown>) => ({ ...state, hosts: [state.host] }),
  1: ({ hosts, ...rest }: Record<string, unknown>) => ({ ...rest, machines: hosts }),
}

describe('migrations', () => {
  it('take a made-up version 0 step by step to the current one', () => {
    expect(migrate({ schemaVersion: 0, host: 'web' }, 2, steps)).toEqual({
      kind: 'current',
      from: 0,
      state: { schemaVersion: 2, host: 'web', machines: ['web'] },
    })
  })

  it('begin at the version that was found', () => {
    expect(migrate({ schemaVersion: 1, hosts: ['db'] }, 2, steps)).toEqual({
      kind: 'current',
      from: 1,
      state: { schemaVersion: 2, machines: ['db'] },
    })
  })

  it('leave the current version alone', () => {
    const state = { schemaVersion: 2, machines: [] }
    expect(migrate(state, 2, steps)).toEqual({ kind: 'current', state, from: 2 })
  })

  it('do not touch what a newer program wrote', () => {
    expect(migrate({ schemaVersion: 3 }, 2, steps)).toEqual({ kind: 'newer', version: 3 })
  })

  it('do not guess what has no version, or one that never was', () => {
    for (const read of [undefined, null, 'text', [], {}, { schemaVersion: '1' }, { schemaVersion: -1 }]) {
      expect(migrate(read, 2, steps)).toEqual({ kind: 'alien' })
    }
    expect(migrate({ schemaVersion: 0 }, 2, {})).toEqual({ kind: 'alien' })
  })
})
