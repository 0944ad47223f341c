import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { activateSystem, reattach } from '../../../src/systems/nixos/activation.js'
import { recordedActivation } from '../../fakes/nixos-session.js'
import { slow } from '../../fixtures/connected-guest.js'
import type { MadeSystem } from '../../fixtures/nixos-system/nixos-system.js'
import { guestTimes, hopeless, NixosGuest, options, sshd, sshdStops } from './guest.js'

const loop = (start: string) =>
  `[Service]\n${start}\nRestart=always\nRestartSec=1\n[Unit]\nStartLimitIntervalSec=0\n`
const once = '[Service]\nType=oneshot\nExecStart=/bin/false\n'
const hello = '[Service]\nExecStart=/bin/sleep infinity\n'

let guest: NixosGuest
beforeAll(async () => {
  guest = await NixosGuest.start()
})
afterAll(() => guest?.dispose())
beforeEach(() => guest.reset())

/** A row of the measured behaviour: the new system's fault, the consequence, and the system that then runs. */
interface Row {
  readonly it: string
  readonly made: MadeSystem
  readonly code: 'UNITS_FAILED' | 'WENT_BACK' | 'BUSY' | 'done'
  readonly says: string
  readonly runs: 'old' | 'next'
}

const rows: readonly Row[] = [
  {
    it: 'whose oneshot unit fails is degraded',
    made: { units: { 'once.service': once } },
    code: 'UNITS_FAILED',
    says: 'units failed: once.service',
    runs: 'next',
  },
  {
    it: 'with a crash loop is degraded, although the switch returns 0',
    made: { units: { 'bad.service': loop('ExecStart=/bin/false') } },
    code: 'UNITS_FAILED',
    says: 'units failed: bad.service',
    runs: 'next',
  },
  {
    it: 'whose service never gets past its first command is degraded, although the switch returns 0',
    made: { units: { 'bad.service': loop('ExecStartPre=/bin/false\nExecStart=/bin/sleep infinity') } },
    code: 'UNITS_FAILED',
    says: 'units failed: bad.service',
    runs: 'next',
  },
  {
    it: 'whose reload fails is degraded, although no unit is failed',
    made: { row: 'reload-fails' },
    code: 'UNITS_FAILED',
    says: 'no unit is failed: a reload may have failed',
    runs: 'next',
  },
  {
    it: 'whose activation script fails is left again',
    made: { row: 'snippet-fails' },
    code: 'WENT_BACK',
    says: 'status 2: an activation script failed',
    runs: 'old',
  },
  {
    it: 'whose switch loses the message bus is left again',
    made: { row: 'bus-lost' },
    code: 'WENT_BACK',
    says: "status 2: the machine's message bus (D-Bus) did not answer",
    runs: 'old',
  },
  {
    it: 'whose activation script calls exit is left again',
    made: { row: 'snippet-exits' },
    code: 'WENT_BACK',
    says: 'status 4, but the machine runs',
    runs: 'old',
  },
  {
    it: 'that refuses before the switch is left again',
    made: { row: 'checks-fail' },
    code: 'WENT_BACK',
    says: 'status 1',
    runs: 'old',
  },
  {
    it: 'that cannot reload systemd is left again',
    made: { row: 'reload-fails-all' },
    code: 'WENT_BACK',
    says: 'status 3: systemd could not be reloaded',
    runs: 'old',
  },
  {
    it: 'whose switch finds another one at work is not entered',
    made: { row: 'locked' },
    code: 'BUSY',
    says: 'another switch holds the lock',
    runs: 'old',
  },
  {
    it: 'that executes systemd anew is entered',
    made: { row: 'reexec' },
    code: 'done',
    says: '',
    runs: 'next',
  },
]

describe('a new system', () => {
  it.each(rows)('$it', async ({ made, code, says, runs }) => {
    const next = await guest.system('next', { services: sshd, ...made })
    const { old } = guest
    const { end, begun } = await guest.activate(next)
    const wanted = code === 'done' ? { kind: code } : { code, message: expect.stringContaining(says) }
    expect(end, begun.lines.join('\n')).toMatchObject(wanted)
    expect(await guest.look()).toMatchObject({
      current: runs === 'old' ? old : next,
      booted: old,
      profile: old,
      bootDefault: old,
    })
  })

  it('that only a boot can enter becomes the boot default, and the old one runs until then', async () => {
    const next = await guest.system('next', { services: sshd, row: 'interface' })
    const { old } = guest
    const { end } = await guest.activate(next)
    expect(end).toMatchObject({ kind: 'done', rebootReason: expect.stringContaining('only a boot') })
    await guest.keep(end)
    expect(await guest.look()).toMatchObject({ current: old, profile: next, bootDefault: next, timers: '0' })
  })

  it('whose switch is killed is left again, and a service that it had stopped is back', async () => {
    const { old } = guest
    const used = await guest.system('used', { services: sshd, units: { 'hello.service': hello } })
    await guest.sh('"$1/bin/switch-to-configuration" test', used)
    const next = await guest.system('next', { services: sshd, row: 'killed-midway' })
    const { end } = await guest.activate(next)
    expect(end).toMatchObject({ code: 'WENT_BACK', message: expect.stringContaining('status 137') })
    expect(await guest.look()).toMatchObject({ current: used, profile: old, bootDefault: old })
    expect(await guest.sh('systemctl is-active hello.service; ls /run/nixos')).toBe('active')
  })

  it('that is degraded is left again where that is wanted', async () => {
    const next = await guest.system('next', { services: sshd, units: { 'once.service': once } })
    const { old } = guest
    const { end } = await guest.activate(next, { onDegraded: 'rollback' })
    expect(end).toMatchObject({ code: 'WENT_BACK', message: expect.stringContaining('once.service') })
    expect(await guest.look()).toMatchObject({ current: old, bootDefault: old })
  })

  it('that reboots the machine during its switch is not entered, and the old one boots', async () => {
    const next = await guest.system('next', { services: sshd, row: 'reboot' })
    const { old } = guest
    const { end } = await guest.activate(next)
    expect(end).toMatchObject({
      code: 'ACTIVATION_UNKNOWN',
      message: expect.stringContaining('was restarted during the activation'),
    })
    await guest.until('true')
    expect(await guest.look()).toMatchObject({ current: old, booted: old, profile: old, timers: '0' })
  })
})

describe('the guard on a guest', () => {
  it('goes back when the operator is gone, and a later process learns it', async () => {
    const next = await guest.system('next', sshdStops)
    const { old } = guest
    const { session, interrupt, record } = await guest.begin()
    const work = activateSystem(session, next, options, hopeless).catch((error: unknown) => error)
    await vi.waitFor(() => guest.sh('systemctl is-active --quiet hydra-ops-activation-r1.service'), slow)
    interrupt()
    expect(await work).toMatchObject({ code: 'INTERRUPTED' })
    const { activation } = record()
    expect(activation).toBeDefined()
    await guest.until('test -e /var/lib/hydra-ops/activations/r1/guard-result')
    expect(await guest.look()).toMatchObject({ current: old, profile: old, bootDefault: old })
    const later = await guest.begin({ run: 'r2', activation })
    expect(await reattach(later.session)).toBe(true)
    expect(later.record().activation).toBeUndefined()
    expect(later.lines.join('\n')).toContain('went back to its old system')
  })

  it('is ended by a later process that logs in in time, and a third one was refused before', async () => {
    const next = await guest.system('next', { services: sshd })
    const { old } = guest
    const { session, interrupt, record } = await guest.begin()
    const work = activateSystem(session, next, options, guestTimes).catch((error: unknown) => error)
    await vi.waitFor(() => guest.sh('systemctl is-active --quiet hydra-ops-activation-r1.service'), slow)
    interrupt()
    await work
    const refused = await guest.begin({ run: 'r2' })
    await expect(
      activateSystem(refused.session, old, { ...options, always: true }, guestTimes),
    ).rejects.toMatchObject({ code: expect.stringMatching(/BUSY|ACTIVATION/) })
    const later = await guest.begin({ run: 'r3', activation: record().activation })
    expect(await reattach(later.session)).toBe(true)
    // Tasks and health checks have not judged the system.
    expect(await guest.look()).toMatchObject({ current: next, profile: old, bootDefault: old, timers: '0' })
  })

  it('ends a switch that hangs, also if the clock is set meanwhile', async () => {
    const next = await guest.system('next', { services: sshd, row: 'hang-late' })
    const { old } = guest
    const work = guest.activate(next, {}, { ...hopeless, activation: 150 })
    await vi.waitFor(() => guest.sh('[ "$(readlink -f /run/current-system)" = "$1" ]', next), slow)
    await guest.sh('date -s "+3 hours" > /dev/null; systemctl daemon-reload')
    await guest.sh('test -e /var/lib/hydra-ops/activations/r1/armed')
    await guest.sh('date -s "-6 hours" > /dev/null; systemctl daemon-reload')
    const { end } = await work
    expect(end).toMatchObject({
      code: 'WENT_BACK',
      message: expect.stringContaining('the switch did not end in time'),
    })
    expect(await guest.look()).toMatchObject({ current: old, bootDefault: old })
    expect(await guest.sh('pgrep -fc "[s]leep infinity" || true')).toBe('0')
  })

  it('reboots into the old system if the old system’s own switch fails three times', async () => {
    const stubborn = await guest.system('stubborn', { services: sshd, row: 'fails-times 3' })
    await guest.sh(
      'nix-env -p /nix/var/nix/profiles/system --set "$1" && "$1/bin/switch-to-configuration" boot && ln -sfnT "$1" /run/current-system',
      stubborn,
    )
    const next = await guest.system('next', sshdStops)
    const { end, begun } = await guest.activate(next, {}, hopeless)
    expect(end, begun.lines.join('\n')).toMatchObject({
      code: 'WENT_BACK',
      message: expect.stringContaining('went back to its old system by rebooting'),
    })
    expect(await guest.look()).toMatchObject({ current: stubborn, booted: stubborn, bootDefault: stubborn })
  })

  it('is not needed after a power cut before the confirmation, which leads to the old system', async () => {
    const next = await guest.system('next', { services: sshd })
    const { old } = guest
    const { session, record } = await guest.begin()
    const work = activateSystem(session, next, options, { ...guestTimes, watch: 60 }).catch(
      (error: unknown) => error,
    )
    await vi.waitFor(() => guest.sh('test -e /var/lib/hydra-ops/activations/r1/ended'), slow)
    const { activation } = record()
    await guest.guest.guest.powerCut()
    await guest.guest.guest.boot()
    expect(await work).toMatchObject({
      code: 'ACTIVATION_UNKNOWN',
      message: expect.stringContaining('was restarted'),
    })
    expect(await guest.look()).toMatchObject({ current: old, booted: old, profile: old, timers: '0' })
    expect(activation).toEqual(recordedActivation('r1', next, activation?.bootId ?? ''))
  })
})
