import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { StorePath } from '../src/core/names.js'
import { type Sshd, startSshd } from '../test/fixtures/sshd.js'

/**
 * A stand-in for a deployed machine: a real sshd on this host, whose sessions find two stand-in programs first.
 * `id` reports root, and `readlink` prints the deployed closure for the given links. This host itself answers all
 * other questions of a deploy. A deploy must find nothing to change on the stand-in.
 */
export interface FarSide {
  readonly sshd: Sshd
  hasDeployed(closure: StorePath): void
  stop(): Promise<void>
}

export async function startFarSide(links: readonly string[]): Promise<FarSide> {
  const folder = mkdtempSync(join(tmpdir(), 'hydra-ops-far-side-'))
  const programs = join(folder, 'programs')
  const closure = join(folder, 'closure')
  mkdirSync(programs)
  program(programs, 'id', `[ "$*" != -u ] || { echo 0; exit; }\nexec /usr/bin/id "$@"`)
  program(
    programs,
    'readlink',
    `case "$*" in ${links.map((link) => `*${link}`).join(' | ')}) cat ${closure};; *) exec /usr/bin/readlink "$@";; esac`,
  )
  const path = `${programs}:${process.env.PATH ?? '/usr/bin:/bin'}`
  const sshd = await startSshd({
    config: [`SetEnv "PATH=${path}" ${nixState(join(folder, 'nix'))} "NIX_CONFIG=substituters ="`],
  })
  return {
    sshd,
    hasDeployed: (path) => writeFileSync(closure, `${path}\n`),
    stop: async () => {
      await sshd.stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/**
 * Returns the setting for the folder of Nix's state. Nix does not start for an ordinary user with the default
 * folder.
 */
export function nixState(folder: string): `NIX_STATE_DIR=${string}` {
  return `NIX_STATE_DIR=${folder}`
}

function program(folder: string, name: string, text: string): void {
  writeFileSync(join(folder, name), `#!/bin/sh\n${text}\n`)
  chmodSync(join(folder, name), 0o755)
}
