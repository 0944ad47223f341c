import { describe, expect, it } from 'vitest'
import { judgeServices, readSamples } from '../../../src/systems/nixos/services.js'
import { readSwitchState } from '../../../src/systems/nixos/switch-state.js'
import { judgeSwitch } from '../../../src/systems/nixos/verdict.js'

const path = '/nix/store/new'
const unit = 'hydra-ops-activation-r1.service'
const activation = { path, unit, bootId: 'boot-1' }

interface Seen {
  readonly ended?: number
  readonly current?: string
  readonly boot?: string
  readonly files?: readonly string[]
  readonly before?: readonly string[]
  readonly samples?: readonly string[]
  readonly unit?: readonly string[]
}

const exited = [`Id=${unit}`, 'LoadState=loaded', 'ActiveState=active', 'SubState=exited']

function output(seen: Seen): string {
  const { ended, current = path, boot = 'boot-1', files = ['armed', 'watched', 'settled'] } = seen
  return [
    ...(seen.unit ?? exited).map((line) => `state ${line}`),
    ...(ended === undefined ? [] : [`file ended ${ended}`]),
    ...files.map((name) => `file ${name} 1`),
    ...(seen.before ?? []).map((line) => `before before ${line}`),
    ...(seen.samples ?? []).map((line) => `sample ${line}`),
    `boot ${boot}`,
    `current ${current}`,
    'profile /nix/store/old',
  ].join('\n')
}

function judge(seen: Seen, log: readonly string[] = []) {
  const state = readSwitchState(output(seen), activation, 'watched')
  if (state === undefined) throw new Error('still running')
  return judgeSwitch(state, activation, log)
}

const old = '/nix/store/old'

describe('the verdict on a switch', () => {
  it.each([
    ['everything was fine', { ended: 0 }, 'good'],
    ['a reload failed, and no unit did', { ended: 4 }, 'degraded'],
    ['only a boot can enter the system', { ended: 100, current: old }, 'boot'],
    ['an activation script failed', { ended: 2 }, 'back'],
    ['an activation script called exit, and the old system stayed', { ended: 4, current: old }, 'back'],
    ['status 0 left the old system', { ended: 0, current: old }, 'back'],
    ['the checks before the switch failed', { ended: 1, current: old }, 'back'],
    ['systemd could not be reloaded', { ended: 3 }, 'back'],
    ['a program that is missing ended the switch', { ended: 127 }, 'back'],
    ['another switch has the lock', { ended: 11, current: old }, 'busy'],
    ['status 11 came from a system that runs', { ended: 11 }, 'back'],
    [
      'the switch was killed',
      { files: ['armed'], unit: [`Id=${unit}`, 'LoadState=loaded', 'ActiveState=failed'] },
      'back',
    ],
    ['the guard was faster', { ended: 0, files: ['fired', 'watched'] }, 'fired'],
    [
      'the guard was faster, and rebooted the machine',
      { ended: 0, boot: 'boot-2', current: old, files: ['fired', 'guard-result'] },
      'fired',
    ],
    ['the machine was restarted', { ended: 0, boot: 'boot-2' }, 'lost'],
    ['nothing is left of the activation', { files: [], unit: [`Id=${unit}`, 'LoadState=not-found'] }, 'lost'],
  ] as const)('is right if %s', (_, seen, kind) => {
    expect(judge(seen).kind).toBe(kind)
  })

  it('calls a crash loop degraded although the switch returned 0', () => {
    expect(
      judge({
        ended: 0,
        samples: [
          '0 bad.service 0 auto-restart exit-code',
          '1 bad.service 2 running success',
          '2 bad.service 3 auto-restart exit-code',
        ],
      }),
    ).toMatchObject({ kind: 'degraded', units: ['bad.service'], why: 'units failed: bad.service' })
  })

  it('names the units of the program’s own summary after status 4', () => {
    const log = ['starting', 'warning: the following units failed: a.service, b.mount']
    expect(judge({ ended: 4 }, log)).toMatchObject({ kind: 'degraded', units: ['a.service', 'b.mount'] })
    expect(judge({ ended: 0 }, log).kind).toBe('good')
  })

  // Perl's `die` leaves the number of the last failed system call as the exit status.
  const noReply = 'org.freedesktop.DBus.Error.NoReply: Did not receive a reply.'
  const noServer =
    'org.freedesktop.DBus.Error.NoServer: Failed to connect to socket /run/dbus/system_bus_socket: Connection refused'
  it.each([
    [2, noReply],
    [111, noServer],
    [255, 'Failed to open dbus connection: org.freedesktop.DBus.Error.Disconnected'],
  ])(
    'blames the message bus, and no activation script, for status %i after an error of D-Bus',
    (ended, line) => {
      expect(judge({ ended }, ['stopping the following units: a.service', line])).toEqual({
        kind: 'back',
        why: `switch-to-configuration ended with status ${ended}: the machine's message bus (D-Bus) did not answer`,
      })
    },
  )

  it('blames an activation script that names itself, whatever the message bus says', () => {
    const log = ["Activation script snippet 'bad' failed (1)", noServer]
    expect(judge({ ended: 2 }, log)).toMatchObject({
      why: expect.stringContaining('an activation script failed'),
    })
  })

  it('is open while the unit runs, and while a look at systemd fails', () => {
    const running = [`Id=${unit}`, 'LoadState=loaded', 'ActiveState=active', 'SubState=running']
    expect(
      readSwitchState(output({ files: ['armed'], unit: running }), activation, 'watched'),
    ).toBeUndefined()
    expect(readSwitchState(output({ files: ['armed'], unit: [] }), activation, 'watched')).toBeUndefined()
  })

  it('does not take the success of a unit that is gone for its own', () => {
    const gone = [`Id=${unit}`, 'LoadState=not-found', 'Result=success', 'ActiveState=inactive']
    expect(judge({ files: ['armed'], unit: gone })).toMatchObject({
      kind: 'back',
      why: expect.stringContaining('killed'),
    })
  })
})

describe('the verdict on services after a switch', () => {
  const services = (samples: readonly string[], before: readonly string[] = []) =>
    judgeServices(readSamples(before.map((line) => `before ${line}`)), readSamples(samples))

  it.each([
    [
      'restarts twice or more after a failure',
      ['0 a 1 auto-restart exit-code', '1 a 3 running success'],
      ['a'],
    ],
    [
      'first restarts after the first sample',
      ['1 a 1 auto-restart exit-code', '2 a 2 running success'],
      ['a'],
    ],
    [
      'waits for its next start in the last sample',
      ['0 a 1 running success', '1 a 1 auto-restart exit-code'],
      ['a'],
    ],
    ['failed for good', ['0 a 0 failed exit-code', '1 a 0 failed exit-code'], ['a']],
    [
      'recovered after one restart',
      ['0 a 0 auto-restart exit-code', '1 a 1 running success', '2 a 1 running success'],
      [],
    ],
    [
      'waited once, and is no longer in the last sample',
      ['0 a 0 auto-restart exit-code', '1 b 1 running success'],
      [],
    ],
    ['ends with success again and again', ['0 a 0 auto-restart success', '1 a 4 auto-restart success'], []],
    ['had restarted often before', ['0 a 50 running success', '1 a 50 running success'], []],
  ] as const)('is right about a service that %s', (_, samples, bad) => {
    expect(services(samples).bad).toEqual(bad)
  })

  it('mentions a periodic service, and one that was in trouble before, without blame', () => {
    expect(services(['0 a 0 auto-restart success', '1 a 4 auto-restart success']).notes).toEqual([
      'a restarted 4 times, each time after a success',
    ])
    const known = services(['0 a 9 failed exit-code'], ['a 9 failed exit-code'])
    expect(known).toEqual({
      bad: [],
      notes: ['a failed (exit-code); the service was in trouble before the switch already'],
    })
  })
})
