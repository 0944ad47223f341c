import { describe, expect, it } from 'vitest'
import { readActivation } from '../../../src/systems/debian/activation-state.js'

const path = `/nix/store/${'a'.repeat(32)}-hydra-ops-web`
const activation = { unit: 'hydra-ops-r1.service', path, bootId: 'boot-1' }

interface Shown {
  readonly state?: Readonly<Record<string, string>>
  readonly record?: readonly string[]
  readonly boot?: string
}

const ran = {
  Id: activation.unit,
  LoadState: 'loaded',
  ActiveState: 'active',
  SubState: 'exited',
  Result: 'success',
  ExecMainCode: '1',
  ExecMainStatus: '0',
}

/** Reads the final output of the follow script. */
function read({ state = {}, record, boot = 'boot-1' }: Shown) {
  const lines = [
    'log state ActiveState=failed',
    ...Object.entries(state).map(([name, value]) => `state ${name}=${value}`),
    ...(record === undefined ? [] : [`record ${JSON.stringify(record)}`, 'record ["end","99"]']),
    `boot ${boot}`,
  ]
  return readActivation(`${lines.join('\n')}\n`, activation)
}

describe('the state of an activation', () => {
  it('is systemd’s own report of its unit', () => {
    expect(read({ state: ran })).toEqual({ kind: 'ended', code: 0, units: [] })
    const failed = {
      ...ran,
      ActiveState: 'failed',
      SubState: 'failed',
      Result: 'exit-code',
      ExecMainStatus: '4',
    }
    const record = ['result', activation.unit, path, '4', 'a.service', 'b.service']
    expect(read({ state: failed, record })).toEqual({
      kind: 'ended',
      code: 4,
      units: ['a.service', 'b.service'],
    })
    expect(read({ state: failed })).toEqual({ kind: 'ended', code: 4, units: [] })
  })

  it('is running until the unit ends', () => {
    expect(read({ state: { ...ran, SubState: 'running', ExecMainCode: '0' } })).toEqual({ kind: 'running' })
    expect(read({ state: { ...ran, ActiveState: 'activating', SubState: 'start' } })).toEqual({
      kind: 'running',
    })
    // systemctl gives no answer while systemd re-executes itself.
    expect(read({})).toEqual({ kind: 'running' })
  })

  it('is never a success of a missing unit, whatever systemd reports of it', () => {
    const gone = { ...ran, LoadState: 'not-found', ActiveState: 'inactive', SubState: 'dead' }
    expect(read({ state: gone })).toEqual({
      kind: 'unknown',
      why: `its unit ${activation.unit} no longer exists`,
    })
    expect(read({ state: gone, boot: 'boot-2' })).toEqual({
      kind: 'unknown',
      why: 'the machine was restarted meanwhile',
    })
  })

  it('is never a success of another unit', () => {
    expect(read({ state: { ...ran, Id: 'other.service' } }).kind).toBe('unknown')
  })

  it('is the record of the activation, when its unit is gone', () => {
    const gone = { LoadState: 'not-found', ActiveState: 'inactive', Result: 'success', ExecMainStatus: '0' }
    const recorded = (...record: string[]) => read({ state: gone, record, boot: 'boot-2' })
    expect(recorded('result', activation.unit, path, '0')).toEqual({ kind: 'ended', code: 0, units: [] })
    expect(recorded('result', activation.unit, path, '4', 'a.service')).toMatchObject({
      code: 4,
      units: ['a.service'],
    })
    expect(recorded('result', 'hydra-ops-earlier.service', path, '0').kind).toBe('unknown')
    expect(recorded('result', activation.unit, `${path}-older`, '0').kind).toBe('unknown')
  })

  it('is a failure when it was killed, or could not begin', () => {
    const killed = { ...ran, ActiveState: 'failed', Result: 'signal', ExecMainCode: '2', ExecMainStatus: '9' }
    expect(read({ state: killed })).toMatchObject({ kind: 'ended', code: 137 })
    const unborn = {
      ...ran,
      ActiveState: 'failed',
      Result: 'resources',
      ExecMainCode: '1',
      ExecMainStatus: '0',
    }
    expect(read({ state: unborn })).toMatchObject({ kind: 'ended', code: 1 })
  })

  it('is unknown when somebody stopped its unit before it had ended', () => {
    const stopped = {
      ...ran,
      ActiveState: 'inactive',
      SubState: 'dead',
      ExecMainCode: '2',
      ExecMainStatus: '15',
    }
    expect(read({ state: stopped }).kind).toBe('unknown')
  })
})
