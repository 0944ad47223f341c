import { lastLines } from '../src/core/command-result.js'
import { failure } from '../src/core/errors.js'
import type { StorePath } from '../src/core/names.js'
import type { Run } from '../src/core/run.js'
import type { Host } from '../src/core/ssh.js'
import { copyProgress, hintFor } from './copy-progress.js'
import { howItEnded, type NixCommand } from './nix-command.js'
import { withSpaceless } from './spaceless.js'

/** Deadline for a closure of gigabytes over a slow line; ssh's keepalive notices a dead connection much earlier. */
export const copyMs = 12 * 60 * 60_000
const evidenceLines = 20

export interface SshCopy {
  readonly path: StorePath
  /** Number of paths in the closure, for the progress of a complete copy. */
  readonly count: number
  /** Generated configuration for the system's ssh; the machine's name is its alias in the file. */
  readonly sshConfig: string
  readonly substitute: boolean
  /** Command that runs nix-store on the machine: `sudo -n /usr/bin/nix-store`. */
  readonly remoteProgram: readonly string[]
}

/** Copies a closure with `nix-copy-closure`, through the system's ssh. */
export async function copyBySsh(
  { command }: { readonly command: NixCommand },
  host: Host,
  copy: SshCopy,
  run: Run,
): Promise<void> {
  const what = 'copy the closure'
  const progress = copyProgress(run, copy.count)
  const args = ['--to', ...(copy.substitute ? ['--use-substitutes'] : []), destination(host, copy), copy.path]
  const result = await withSpaceless(copy.sshConfig, (config) =>
    command.run('nix-copy-closure', args, {
      signal: run.signal,
      timeoutMs: copyMs,
      what: `${what} to machine '${host.machine}'`,
      extraEnv: { NIX_SSHOPTS: `-F ${config}` },
      onLine: (line) => progress.line(line),
    }),
  )
  if (result.kind === 'exited' && result.code === 0) return
  throw failure('COPY', `machine '${host.machine}': cannot ${what}: ${howItEnded(result)}`, {
    machine: host.machine,
    detail: lastLines(result.stderr, evidenceLines),
    ...hintFor(result.stderr),
  })
}

function destination(host: Host, copy: SshCopy): string {
  return `${host.machine}?remote-program=${encodeURIComponent(copy.remoteProgram.join(' '))}`
}
