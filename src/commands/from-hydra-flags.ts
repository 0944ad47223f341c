import type { Command } from 'commander'
import { readAge } from '../core/ages.js'
import { usageError } from '../core/errors.js'
import type { HydraWish } from '../deploy/from-hydra.js'
import { readJob, readJobsetUrl } from '../hydra/names.js'
import { positive } from './flags.js'

/** Flags for a deploy of a Hydra's results. */
export interface FromHydraFlags {
  readonly fromHydra?: string | true | undefined
  readonly eval?: number | undefined
  readonly build?: number | undefined
  readonly job?: string | undefined
  readonly latest?: boolean | undefined
  readonly latestFinished?: boolean | undefined
  readonly ignoreGate?: boolean | undefined
  readonly maxAge?: string | undefined
  readonly allowOlder?: boolean | undefined
  readonly allowUnsigned?: boolean | undefined
}

export function fromHydraFlags(command: Command): void {
  command
    .option(
      '--from-hydra [source]',
      'deploy what a Hydra built: URL/job/PROJECT/JOBSET (default: network.hydra); builds nothing',
    )
    .option('--eval <n>', 'Hydra: this evaluation (default: the newest with a green gate)', positive)
    .option('--build <n>', 'Hydra: the results of this build, an aggregate or one machine', positive)
    .option('--job <name>', 'Hydra: PROJECT:JOBSET:JOB as the gate')
    .option('--latest-finished', 'Hydra: the newest green gate of an evaluation without unfinished builds')
    .option('--latest', 'Hydra: the newest success of each machine by itself, without a gate')
    .option('--ignore-gate', 'Hydra: deploy --eval or --build even if the gate is not green')
    .option('--max-age <time>', 'Hydra: refuse older evaluations (36h, 2d)')
    .option('--allow-older', 'Hydra: deploy an evaluation even if the machines run a newer evaluation')
    .option('--allow-unsigned', 'Hydra: accept paths without a trusted signature')
}

/**
 * Returns the wish, or undefined for a deploy of evaluated closures. Refuses flags that need `--from-hydra` without
 * it.
 */
export function hydraWishOf(flags: FromHydraFlags): HydraWish | undefined {
  const { fromHydra, job, maxAge } = flags
  const choices = [
    ...(flags.eval === undefined ? [] : [['--eval', { kind: 'evaluation', id: flags.eval }] as const]),
    ...(flags.build === undefined ? [] : [['--build', { kind: 'build', id: flags.build }] as const]),
    ...(flags.latest === true ? [['--latest', { kind: 'latest' }] as const] : []),
    ...(flags.latestFinished === true ? [['--latest-finished', { kind: 'latest-finished' }] as const] : []),
  ]
  const [first, ...others] = choices
  if (others.length > 0) throw usageError(`${choices.map(([flag]) => flag).join(' and ')} cannot be combined`)
  if (fromHydra === undefined) {
    refuseWithout(flags, first?.[0])
    return undefined
  }
  const ignoreGate = flags.ignoreGate ?? false
  if (ignoreGate && first?.[0] !== '--eval' && first?.[0] !== '--build')
    throw usageError('--ignore-gate needs --eval or --build', {
      hint: 'choose an evaluation with --eval or --build; --latest needs no gate',
    })
  return {
    source: fromHydra === true ? undefined : readJobsetUrl(fromHydra),
    job: job === undefined ? undefined : readJob(job),
    which: first?.[1] ?? { kind: 'green' },
    ignoreGate,
    maxAge: maxAge === undefined ? undefined : readAge(maxAge, '--max-age'),
    allowOlder: flags.allowOlder ?? false,
    allowUnsigned: flags.allowUnsigned ?? false,
  }
}

function refuseWithout(flags: FromHydraFlags, choice: string | undefined): void {
  const [stray] = [
    ...(choice === undefined ? [] : [choice]),
    ...(flags.job === undefined ? [] : ['--job']),
    ...(flags.ignoreGate === true ? ['--ignore-gate'] : []),
    ...(flags.maxAge === undefined ? [] : ['--max-age']),
    ...(flags.allowOlder === true ? ['--allow-older'] : []),
    ...(flags.allowUnsigned === true ? ['--allow-unsigned'] : []),
  ]
  if (stray !== undefined) throw usageError(`${stray} needs --from-hydra`)
}
