import { lastLines } from '../src/core/command-result.js'
import { failure, type OpsError } from '../src/core/errors.js'
import type { MachineName, StorePath } from '../src/core/names.js'
import type { Nix, NixFlags } from '../src/core/nix.js'
import type { Run } from '../src/core/run.js'
import type { CommandResult } from '../src/core/ssh.js'
import { expectSuccess, howItEnded, type NixCommand } from './nix-command.js'
import type { StoreQueries } from './store-queries.js'

/** Deadline that only ends a build that hangs: builds have no natural time limit. */
const buildMs = 24 * 60 * 60_000
const logMs = 60_000
const evidenceLines = 20

/**
 * Warnings that every `nix-store --realise` prints and users can ignore: hydra-ops registers its roots
 * afterwards.
 */
const noise = /did not specify '--add-root'|group 'nixbld' specified in/

export function createBuilder(command: NixCommand, queries: StoreQueries): Pick<Nix, 'build'> {
  return {
    async build(derivations, flags, run) {
      const drvs = [...new Set(derivations.values())]
      const results: Awaited<ReturnType<Nix['build']>> = new Map()
      if (drvs.length === 0) return results
      const built = await realise(drvs, flags, run)
      const outputs = await outputsOf(drvs, built, run)
      for (const [machine, drv] of derivations) {
        const out = outputs.get(drv)
        results.set(machine, out === undefined ? { error: await explain(machine, drv, built, run) } : { out })
      }
      return results
    },
  }

  /**
   * Realises all derivations in one call, so that Nix shares common dependencies. `--keep-going` builds
   * everything that does not depend on a failed build.
   */
  function realise(drvs: readonly StorePath[], flags: NixFlags, run: Run): Promise<CommandResult> {
    return command.run('nix-store', ['--realise', '--keep-going', ...drvs], {
      signal: run.signal,
      timeoutMs: buildMs,
      what: 'build the closures',
      flags,
      onLine: (line) => {
        if (!noise.test(line)) run.log(line)
      },
    })
  }

  async function outputsOf(
    drvs: readonly StorePath[],
    built: CommandResult,
    run: Run,
  ): Promise<Map<StorePath, StorePath>> {
    const all = await queries.outputs(drvs, run)
    const pairs = drvs.flatMap((drv, index) => {
      const out = all[index]
      return out === undefined ? [] : [[drv, out] as const]
    })
    if (built.kind === 'exited' && built.code === 0) return new Map(pairs)
    const invalid = new Set(await queries.invalid(all, run))
    return new Map(pairs.filter(([, out]) => !invalid.has(out)))
  }

  async function explain(
    machine: MachineName,
    drv: StorePath,
    built: CommandResult,
    run: Run,
  ): Promise<OpsError> {
    const needed = new Set<string>(await queries.requisites(drv, run))
    const failed = failedDerivations(built.stderr)
    const culprit = [...failed.keys()].find((each) => each === drv || needed.has(each))
    if (culprit === undefined) {
      return failure('BUILD', `cannot build the closure: ${howItEnded(built)}`, {
        machine,
        detail: lastLines(withoutNoise(built.stderr), evidenceLines),
      })
    }
    const log = await logOf(culprit, run)
    const detail = lastLines(log ?? withoutNoise(built.stderr), evidenceLines)
    const why = failed.get(culprit) ?? ''
    return failure('BUILD', `building ${nameOf(culprit)} failed${why === '' ? '' : ` (${why})`}`, {
      machine,
      detail,
      ...(/have the same priority/.test(detail) || /have the same priority/.test(built.stderr)
        ? {
            hint: 'two packages contain the same file; remove one package, or set meta.priority (the smaller number wins)',
          }
        : log === undefined
          ? {}
          : { hint: `nix-store --read-log ${culprit} shows the whole log` }),
    })
  }

  /** Returns the log; undefined if no build began (a wrong platform) or a `builtin:` builder failed early. */
  async function logOf(drv: string, run: Run): Promise<string | undefined> {
    const what = 'read a build log'
    const options = { signal: run.signal, timeoutMs: logMs, what }
    const result = await command.run('nix-store', ['--read-log', drv], options)
    if (result.kind !== 'exited' || result.code !== 0) return undefined
    const log = expectSuccess(result, what)
    return log.trim() === '' ? undefined : log
  }
}

/**
 * Finds the derivations that an error of Nix names, with their reasons. Derivations that only lack a dependency
 * are left out. Nix 2.8: `error: builder for '….drv' failed with exit code 1;`. Newer versions: `error: Cannot
 * build '….drv'.` and on the next line `Reason: builder failed with exit code 1.` (as in
 * nix-community/nix4vscode#365).
 */
export function failedDerivations(stderr: string): Map<string, string> {
  const failed = new Map<string, string>()
  const errors = /error:[^\n]*'(\/nix\/store\/[^'\n]+\.drv)'[^\n]*(?:\n\s+Reason:[^\n]*)?/g
  for (const [said, drv] of stderr.matchAll(errors)) {
    if (drv === undefined || /\d+ dependenc(?:y|ies) /.test(said)) continue
    const why =
      /failed with exit code \d+|failed due to signal \d+|hash mismatch|timed out/.exec(said)?.[0] ?? ''
    failed.set(drv, why.replace(/^failed (?:with )?/, ''))
  }
  return failed
}

function nameOf(drv: string): string {
  return drv.replace(/^\/nix\/store\/[^-]*-/, '').replace(/\.drv$/, '')
}

function withoutNoise(stderr: string): string {
  return stderr
    .split('\n')
    .filter((line) => !noise.test(line))
    .join('\n')
}
