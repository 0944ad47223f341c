import type { Command } from 'commander'
import type { NixFlags } from '../core/nix.js'
import { collect, collectPair } from './flags.js'

export interface PairFlags {
  readonly arg?: (readonly [string, string])[] | undefined
  readonly argstr?: (readonly [string, string])[] | undefined
}

export interface EvaluationFlags {
  readonly showTrace?: boolean | undefined
  readonly option?: (readonly [string, string])[] | undefined
}

export interface BuildFlags extends EvaluationFlags {
  readonly maxJobs?: string | undefined
  readonly cores?: string | undefined
  readonly keepFailed?: boolean | undefined
  readonly keepGoing?: boolean | undefined
  readonly fallback?: boolean | undefined
  readonly builders?: string | undefined
}

/** Adds the flags for expression arguments and the search path, which apply only to the current run. */
export function expressionFlags(command: Command): void {
  command
    .option('-I <path>', 'add to the Nix search path, for this run', collect)
    .option(
      '--arg <name> <value>',
      'argument of the network expression as Nix text, for this run',
      collectPair,
    )
    .option(
      '--argstr <name> <value>',
      'argument of the network expression as a string, for this run',
      collectPair,
    )
}

export function evaluationFlags(command: Command): void {
  command
    .option('--show-trace', 'show the Nix trace of an error in the expression')
    .option('--option <name> <value>', 'set an option of Nix', collectPair)
}

export function buildFlags(command: Command): void {
  command
    .option('-j, --max-jobs <n>', 'Nix: number of parallel builds')
    .option('--cores <n>', 'Nix: cores a build may use')
    .option('-K, --keep-failed', 'Nix: keep the folder of a failed build')
    .option('--fallback', 'Nix: build what cannot be fetched')
    .option('--builders <machines>', 'Nix: remote builders')
}

/** Returns Nix text by argument name, from `--arg` and `--argstr`. */
export async function argumentsOf(flags: PairFlags): Promise<Record<string, string>> {
  if (flags.arg === undefined && flags.argstr === undefined) return {}
  const [{ argumentName }, { nixString }] = await Promise.all([
    import('../operations/create.js'),
    import('../core/nix-string.js'),
  ])
  return Object.fromEntries([
    ...(flags.arg ?? []).map(([name, text]) => [argumentName(name), text]),
    ...(flags.argstr ?? []).map(([name, text]) => [argumentName(name), nixString(text)]),
  ])
}

export function nixFlagsOf(flags: BuildFlags): NixFlags {
  return {
    showTrace: flags.showTrace ?? false,
    options: flags.option ?? [],
    maxJobs: flags.maxJobs,
    cores: flags.cores,
    keepFailed: flags.keepFailed,
    keepGoing: flags.keepGoing,
    fallback: flags.fallback,
    builders: flags.builders,
  }
}
