import { StorePath } from '../src/core/names.js'

/** Shell line that extends the PATH of an ssh command, which would otherwise find only Debian's own Nix. */
export const findNix = 'PATH=$PATH:/nix/var/nix/profiles/default/bin:/run/current-system/sw/bin'

/** Formats paths one per line, as scripts on a machine read them. */
export function linesOf(paths: readonly StorePath[]): string {
  return paths.map((path) => `${path}\n`).join('')
}

export function pathsIn(stdout: string): StorePath[] {
  return stdout.split('\n').flatMap((line) => (line === '' ? [] : [StorePath.parse(line)]))
}
