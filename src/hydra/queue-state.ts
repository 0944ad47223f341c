import { describeAge } from '../core/ages.js'
import {
  type Abilities,
  builtinSystem,
  localFeature,
  type Mismatch,
  matchBuilders,
  matchRemedy,
} from '../core/builder-match.js'
import type { Blockage, QueueState } from '../core/hydra-reports.js'
import type { Builder, RunnerStatus } from './replies.js'

/** Distinguishes a queue that cannot move from a queue that is busy. */
export function judgeQueue(status: RunnerStatus, queued: number, now: Date): QueueState {
  const runnable = status.nrRunnableSteps ?? 0
  const active = status.nrActiveSteps ?? 0
  if (status.status !== 'up') {
    const cause =
      status.status === 'unknown' ? 'the queue runner has never started' : 'the queue runner is not running'
    const remedy = 'run systemctl status hydra-queue-runner on the Hydra machine'
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
      remedy: 'hydra-ops builders why DERIVATION names the features; add them to a builder',
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
  const named = list.split(',').filter((feature) => feature !== '')
  const offers = builders.map(([name, builder]) => ({ name, builder, ...abilitiesOf(builder, system) }))
  const features = named.filter((feature) => feature !== localFeature)
  const found = matchBuilders({ system, features, local: named.includes(localFeature) }, offers)
  if (!('takers' in found))
    return { type, steps, cause: found.cause, remedy: matchRemedy(found, systemRemedy(found, system)) }
  const willing = found.takers.map(({ name, builder }) => [name, builder] as const)
  return willing.every(([, builder]) => isDisabled(builder, now))
    ? { type, steps, ...disabledCause(willing, now) }
    : undefined
}

/**
 * Returns the capabilities of a builder. Any builder counts as able to run a builtin, because the queue runner does not
 * report its own system.
 */
function abilitiesOf(
  { systemTypes, supportedFeatures, mandatoryFeatures }: Builder,
  system: string,
): Omit<Abilities, 'name'> {
  return {
    systems: system === builtinSystem ? [system] : systemTypes,
    supportedFeatures,
    mandatoryFeatures,
  }
}

function systemRemedy({ gap }: Mismatch, system: string): string {
  return gap === 'builders'
    ? 'the queue runner has no builder at all: one bad line in its machines file drops all of them; hydra-ops builders shows the list, and setup verify tries each builder'
    : `add a builder for ${system}, for instance with deployment.hydra.buildMachines, or emulate ${system} on an existing builder`
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
      'journalctl -u hydra-queue-runner on the Hydra machine shows the failures; a restart of the queue runner retries at once',
  }
}

function waiting(steps: number): Blockage {
  return {
    steps,
    cause: 'steps wait and no step runs, although each step has a suitable builder',
    remedy:
      'a builder with maxJobs 0 is drained, and a failed step waits for its next try; journalctl -u hydra-queue-runner on the Hydra machine shows more',
  }
}
