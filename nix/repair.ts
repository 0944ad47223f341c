import { requireSuccess } from '../src/core/command-result.js'
import type { StorePath } from '../src/core/names.js'
import type { Run } from '../src/core/run.js'
import type { Host } from '../src/core/ssh.js'
import { findNix, linesOf, pathsIn } from './remote-store.js'

/** Deadline for the verification, which reads every byte of the closure on a possibly slow disk. */
const verifyMs = 60 * 60_000
const removeMs = 15 * 60_000

/**
 * Script that verifies all paths at once, and then each path separately if the first command fails. Nix stops at
 * a path with missing files.
 */
const verifyScript = `${findNix}
paths=$(cat)
printf '%s\\n' "$paths" | xargs -r nix-store --verify-path >/dev/null 2>&1 && exit 0
printf '%s\\n' "$paths" | while IFS= read -r path; do
  nix-store --check-validity "$path" >/dev/null 2>&1 || continue
  nix-store --verify-path "$path" >/dev/null 2>&1 </dev/null || printf '%s\\n' "$path"
done`

/**
 * Script that deletes paths. Nix deletes a path only together with all its referrers, in one command (measured).
 * The next copy restores the wanted paths. A command line of 1 MB holds 13,000 paths.
 */
const removeScript = `${findNix}
closure=$(xargs -r nix-store --query --referrers-closure) || exit
printf '%s\\n' "$closure" | xargs -r -x -s 1000000 nix-store --delete --ignore-liveness`

/** Finds paths that are valid in the machine's database but have damaged content. */
export async function brokenOn(host: Host, paths: readonly StorePath[], run: Run): Promise<StorePath[]> {
  const what = 'verify the closure'
  const options = { signal: run.signal, timeoutMs: verifyMs, what, stdin: linesOf(paths) }
  const result = await host.script(verifyScript, [], options)
  return pathsIn(requireSuccess(result, { machine: host.machine, what }).stdout)
}

export async function removeBroken(host: Host, paths: readonly StorePath[], run: Run): Promise<void> {
  const what = 'remove broken paths'
  const options = { signal: run.signal, timeoutMs: removeMs, what, stdin: linesOf(paths) }
  requireSuccess(await host.script(removeScript, [], options), { machine: host.machine, what })
}
