import { StorePath } from '../src/core/names.js'

/** Nix from elsewhere than Debian is not on the PATH of a command over ssh. */
export const findNix = 'PATH=$PATH:/nix/var/nix/profiles/default/bin:/run/current-system/sw/bin'

/** Paths as scripts on a machine read them. */
export function linesOf(paths: readonly StorePath[]): string {
  return paths.map((path) => `${path}\n`).join('')
}

export function pathsIn(stdout: string): StorePath[] {
  return stdout.split('\n').flatMap((line) => (line === '' ? [] : [StorePath.parse(line)]))
}
