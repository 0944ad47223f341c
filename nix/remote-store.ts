import { StorePath } from '../src/core/names.js'

/** Line that extends the PATH of a command over ssh, which lacks a Nix from elsewhere than Debian. */
export const findNix = 'PATH=$PATH:/nix/var/nix/profiles/default/bin:/run/current-system/sw/bin'

/** Formats paths as scripts on a machine read them. */
export function linesOf(paths: readonly StorePath[]): string {
  return paths.map((path) => `${path}\n`).join('')
}

export function pathsIn(stdout: string): StorePath[] {
  return stdout.split('\n').flatMap((line) => (line === '' ? [] : [StorePath.parse(line)]))
}
