import { describeEnd } from '../../core/command-result.js'
import type { Ops } from '../../core/context.js'
import { failure, OpsError, usageError } from '../../core/errors.js'

const lookMs = 60_000
/** Environment that keeps Nix from reading or writing the host's store. */
const env = { NIX_REMOTE: 'dummy://' }

/** Says whether the search path of this host has a nixpkgs; a host without Nix has none. */
export async function findNixpkgs({ local, signal }: Pick<Ops, 'local' | 'signal'>): Promise<boolean> {
  try {
    const argv = ['nix-instantiate', '--find-file', 'nixpkgs']
    const result = await local.run(argv, { signal, timeoutMs: lookMs, what: 'look for nixpkgs', env })
    return result.kind === 'exited' && result.code === 0
  } catch (error) {
    if (error instanceof OpsError && error.code !== 'INTERRUPTED') return false
    throw error
  }
}

/**
 * Refuses text that is not a complete expression, with only `pkgs` in scope. Such text would break the generated
 * file.
 */
export async function refuseBrokenExpression(
  { local, signal }: Pick<Ops, 'local' | 'signal'>,
  text: string,
  flag: string,
): Promise<void> {
  const what = `read the expression of ${flag}`
  const options = { signal, timeoutMs: lookMs, what, env, stdin: `{ pkgs, ... }:\n${text}` }
  const result = await local.run(['nix-instantiate', '--parse', '-'], options)
  if (result.kind === 'exited' && result.code === 0) return
  if (result.kind !== 'exited')
    throw failure('NIX', `${what}: ${describeEnd(result)}`, { detail: result.stderr.trim() })
  const said = result.stderr.split('\n').find((line) => line.startsWith('error:')) ?? ''
  throw usageError(`${flag}: the text is not a valid Nix expression: ${said.replace(/^error:\s*/, '')}`, {
    detail: result.stderr.trim(),
  })
}
