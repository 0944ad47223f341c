import { describeAge } from '../core/ages.js'
import type { Blockage, QueueState } from '../core/hydra-reports.js'
import type { Builder, RunnerStatus } from './replies.js'

/** Tells a queue that cannot move from one that is busy. */
export function judgeQueue(status: RunnerStatus, queued: number, now: Date): QueueState {
  const runnable = status.nrRunnableSteps ?? 0
  const active = status.nrActiveSteps ?? 0
  if (status.status !== 'up') {
    const cause =
      status.status === 'unknown' ? 'the queue runner has never started' : 'the queue runner does not run'
    const remedy = 'on the machine of Hydra: systemctl status hydra-queue-runner'
    return { kind: 'down', runnable, active, blocked: [{ steps: queued, cause, remedy }] }
  }
  const blocked = blockagesOf(status, now)
  if (blocked.length > 0) return { kind: 'stuck', runnable, active, blocked }
  if (runnable > 0 && active === 0) return { kind: 'stuck', runnable, active, blocked: [waiting(runnable)] }
  return { kind: runnable + active > 0 ? 'busy' : 'idle', runnable, active, blocked }
}

function blockagesOf(status: RunnerStatus, now: Date): Blockage[] {
  const builders = Object.entries(status.machines)
  const typed = Object.entries(status.machineTypes).flatMap(([type, { runnable }]) => {
    const steps = runnable ?? 0
    return steps === 0 ? [] : (blockageOf(type, steps, builders, now) ?? [])
  })
  const unsupported = status.nrUnsupportedSteps ?? 0
  if (typed.length > 0 || unsupported === 0) return typed
  return [
    {
      steps: unsupported,
      cause: 'no builder offers the system or a feature of these steps',
      remedy: 'hydra-ops setup verify names the features; add them to a builder',
    },
  ]
}

function blockageOf(
  type: string,
  steps: number,
  builders: readonly (readonly [string, Builder])[],
  now: Date,
): Blockage | undefined {
  const [system = '', list = ''] = type.split(':', 2)
  const features = list.split(',').filter((feature) => feature !== '')
  const offering = builders.filter(([, builder]) => builder.systemTypes.includes(system))
  if (offering.length === 0)
    return {
      type,
      steps,
      cause: `no builder offers the system ${system}`,
      remedy: systemRemedy(builders, system),
    }
  const able = offering.filter(([, builder]) => lacking(builder, features).length === 0)
  if (able.length === 0) return { type, steps, ...featureCause(system, features, offering) }
  const willing = able.filter(([, builder]) =>
    builder.mandatoryFeatures.every((feature) => features.includes(feature)),
  )
  if (willing.length === 0) {
    const demands = able.map(([name, builder]) => `${name} (${builder.mandatoryFeatures.join(', ')})`)
    return {
      type,
      steps,
      cause: `each builder of ${system} takes only steps with a mandatory feature: ${demands.join('; ')}`,
      remedy: 'take the feature out of mandatoryFeatures of a builder, or add a builder',
    }
  }
  return willing.every(([, builder]) => isDisabled(builder, now))
    ? { type, steps, ...disabledCause(willing, now) }
    : undefined
}

function systemRemedy(builders: readonly (readonly [string, Builder])[], system: string): string {
  return builders.length === 0
    ? 'the queue runner has no builder at all: one bad line in its machines file drops all of them; hydra-ops setup verify says more'
    : `add a builder of ${system}, for instance by deployment.hydra.buildMachines, or emulate ${system} on one`
}

function lacking(builder: Builder, features: readonly string[]): string[] {
  const known = [...builder.supportedFeatures, ...builder.mandatoryFeatures]
  return features.filter((feature) => !known.includes(feature))
}

function featureCause(
  system: string,
  features: readonly string[],
  offering: readonly (readonly [string, Builder])[],
): Pick<Blockage, 'cause' | 'remedy'> {
  const nobody = features.filter((feature) =>
    offering.every(([, builder]) => lacking(builder, [feature]).length > 0),
  )
  const [named] = nobody
  if (named === undefined)
    return {
      cause: `no single builder of ${system} offers all of the features ${features.join(', ')}`,
      remedy: 'add the features that one builder lacks to its supportedFeatures and to its system-features',
    }
  const word = nobody.length === 1 ? `the feature ${named}` : `the features ${nobody.join(', ')}`
  return {
    cause: `no builder of ${system} offers ${word}`,
    remedy: `add ${nobody.join(', ')} to supportedFeatures of a builder, and to system-features in the nix.conf of that builder`,
  }
}

function isDisabled(builder: Builder, now: Date): boolean {
  return builder.enabled === false || secondsLeft(builder, now) > 0
}

function secondsLeft({ disabledUntil }: Builder, now: Date): number {
  return (disabledUntil ?? 0) - now.getTime() / 1000
}

function disabledCause(
  builders: readonly (readonly [string, Builder])[],
  now: Date,
): Pick<Blockage, 'cause' | 'remedy'> {
  const names = builders.map(([name, builder]) => {
    const left = secondsLeft(builder, now)
    const failures = builder.consecutiveFailures ?? 0
    return left > 0
      ? `${name} (for ${describeAge(left)}, after ${failures} failures)`
      : `${name} (not enabled)`
  })
  return {
    cause: `the builders for these steps are disabled: ${names.join(', ')}`,
    remedy:
      'on the machine of Hydra: journalctl -u hydra-queue-runner shows the failures; a restart of the queue runner tries at once',
  }
}

function waiting(steps: number): Blockage {
  return {
    steps,
    cause: 'steps wait, no step runs, and each step has a builder that offers what it needs',
    remedy:
      'a builder with maxJobs 0 is drained, and a failed step waits for its next try; on the machine of Hydra: journalctl -u hydra-queue-runner says more',
  }
}
