import { describe, expect, it } from 'vitest'
import { judgeQueue } from '../../src/hydra/queue-state.js'
import { RunnerStatus } from '../../src/hydra/replies.js'

const now = new Date('2026-01-10T00:00:00Z')
const seconds = now.getTime() / 1000

const localhost = {
  enabled: true,
  systemTypes: ['x86_64-linux', 'builtin'],
  supportedFeatures: ['big-parallel', 'benchmark'],
  mandatoryFeatures: [],
  currentJobs: 0,
}

const judged = (status: Record<string, unknown>, queued = 3) =>
  judgeQueue(
    RunnerStatus.parse({
      status: 'up',
      nrRunnableSteps: 0,
      nrActiveSteps: 0,
      machines: { localhost },
      ...status,
    }),
    queued,
    now,
  )

/** Returns the only cause of a queue with one waiting step of this type. */
function causeOf(type: string, machines: Record<string, unknown> = { localhost }) {
  const { kind, blocked } = judged({
    nrRunnableSteps: 1,
    machineTypes: { [type]: { runnable: 1 } },
    machines,
  })
  expect([kind, blocked.length]).toEqual(['stuck', 1])
  return blocked[0]
}

describe('a queue', () => {
  it('is idle without steps, and busy while steps run or wait behind others', () => {
    expect(judged({}).kind).toBe('idle')
    const busy = { nrRunnableSteps: 40, nrActiveSteps: 4, machineTypes: { 'x86_64-linux': { runnable: 40 } } }
    expect(judged(busy)).toEqual({ kind: 'busy', runnable: 40, active: 4, blocked: [] })
  })

  it('is stuck for a feature that nobody offers, also while other steps run', () => {
    const { kind, blocked } = judged({
      nrRunnableSteps: 2,
      nrActiveSteps: 1,
      machineTypes: { 'x86_64-linux': { runnable: 1, running: 1 }, 'x86_64-linux:quantum': { runnable: 1 } },
    })
    expect(kind).toBe('stuck')
    expect(blocked).toEqual([
      {
        type: 'x86_64-linux:quantum',
        steps: 1,
        cause: 'no builder of x86_64-linux offers the feature quantum',
        remedy:
          'add quantum to supportedFeatures of a builder, and to system-features in the nix.conf of that builder',
      },
    ])
  })

  it('is stuck for a system that nobody offers', () => {
    const found = causeOf('aarch64-linux')
    expect(found?.cause).toBe('no builder offers the system aarch64-linux')
    expect(found?.remedy).toContain('emulate aarch64-linux')
  })

  it('is stuck without any builder, which one bad line in the machines file brings about', () => {
    expect(causeOf('x86_64-linux', {})?.remedy).toContain(
      'the queue runner has no builder at all: one bad line in its machines file drops all of them',
    )
  })

  it('is stuck when only a builder with a mandatory feature is left', () => {
    const picky = { ...localhost, mandatoryFeatures: ['arm-only'] }
    expect(causeOf('x86_64-linux', { picky })?.cause).toBe(
      'each builder of x86_64-linux takes only steps with a mandatory feature: picky (arm-only)',
    )
    // A step that requires the feature gets the builder.
    expect(
      judged({
        nrRunnableSteps: 1,
        nrActiveSteps: 1,
        machineTypes: { 'x86_64-linux:arm-only': { runnable: 1 } },
        machines: { picky },
      }).kind,
    ).toBe('busy')
  })

  it.each(['builtin', 'builtin:local', 'x86_64-linux:local'])(
    'is busy with steps of type %s, which each builder of the system takes',
    (type) => {
      const running = { nrRunnableSteps: 2, nrActiveSteps: 1, machineTypes: { [type]: { runnable: 1 } } }
      expect(judged(running).kind).toBe('busy')
      const plain = { ...localhost, systemTypes: ['x86_64-linux'] }
      expect(judged({ ...running, machines: { plain } }).kind).toBe('busy')
      const local = { ...plain, mandatoryFeatures: ['local'] }
      expect(judged({ ...running, machines: { local } }).kind).toBe(
        type.endsWith(':local') ? 'busy' : 'stuck',
      )
    },
  )

  it('is stuck when no single builder has all features of a step', () => {
    const machines = {
      a: { ...localhost, supportedFeatures: ['kvm'] },
      b: { ...localhost, supportedFeatures: ['big-parallel'] },
    }
    expect(causeOf('x86_64-linux:kvm,big-parallel', machines)?.cause).toContain(
      'no single builder of x86_64-linux offers all of the features kvm, big-parallel',
    )
  })

  it('is stuck while the builders that could help are disabled, with the time that is left', () => {
    const machines = { web: { ...localhost, disabledUntil: seconds + 184, consecutiveFailures: 2 } }
    expect(causeOf('x86_64-linux', machines)?.cause).toBe(
      'the builders for these steps are disabled: web (for 3 minutes, after 2 failures)',
    )
    const off = { web: { ...localhost, enabled: false } }
    expect(causeOf('x86_64-linux', off)).toMatchObject({
      cause: 'the builders for these steps are disabled: web (not enabled)',
      remedy: expect.stringContaining('a restart of the queue runner retries at once'),
    })
    const over = { web: { ...localhost, disabledUntil: seconds - 1 } }
    const running = {
      nrRunnableSteps: 1,
      nrActiveSteps: 1,
      machineTypes: { 'x86_64-linux': { runnable: 1 } },
    }
    expect(judged({ ...running, machines: over }).kind).toBe('busy')
  })

  it('is stuck when all steps wait and none of the reasons above holds', () => {
    const { kind, blocked } = judged({
      nrRunnableSteps: 5,
      machineTypes: { 'x86_64-linux': { runnable: 5 } },
    })
    expect(kind).toBe('stuck')
    expect(blocked).toEqual([
      {
        steps: 5,
        cause: 'steps wait and no step runs, although each step has a suitable builder',
        remedy: expect.stringContaining('a builder with maxJobs 0 is drained'),
      },
    ])
  })

  it('is stuck by a runner’s own count where the runner reports no types', () => {
    expect(judged({ nrUnsupportedSteps: 2 }).blocked[0]).toMatchObject({
      steps: 2,
      cause: 'no builder offers the system or a feature of these steps',
      remedy: expect.stringContaining('hydra-ops builders why DERIVATION names the features'),
    })
  })

  it.each([
    ['unknown', 'the queue runner has never started'],
    ['down', 'the queue runner is not running'],
  ])('does not move while its runner is %s', (status, cause) => {
    const found = judged({ status }, 7)
    expect(found).toMatchObject({
      kind: 'down',
      blocked: [{ steps: 7, cause, remedy: 'run systemctl status hydra-queue-runner on the Hydra machine' }],
    })
  })
})
