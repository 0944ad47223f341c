import { spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { builderList, buildersSetting } from '../../../src/core/builder-entries.js'
import { listFiles } from '../../../src/setup/builders/relations.js'
import { nixOptions, nixSettings } from '../../../src/setup/nix-config.js'
import { debianMachine } from '../../fakes/debian-machine.js'

/** A system that no host has, so that a build needs a builder. */
const system = 'riscv64-linux'

let folder: string
let list: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ho-lists-'))
  list = join(folder, 'machines')
  writeFileSync(list, builderList([`ssh://nix-builder@b1 ${system} - 3 1 - - -`]))
  writeFileSync(
    join(folder, 'build.nix'),
    `derivation { name = "far"; system = "${system}"; builder = "/bin/sh"; requiredSystemFeatures = [ "absent" ]; }`,
  )
})
afterEach(() => {
  for (const each of readdirSync(folder, { recursive: true, encoding: 'utf8', withFileTypes: true }))
    if (each.isDirectory()) chmodSync(join(each.parentPath, each.name), 0o755)
  rmSync(folder, { recursive: true, force: true })
})

/** Asks the real Nix for a build that no builder may do; its error lists the builders that it knows. */
function buildersKnownBy(setting: string): string {
  const { stderr } = spawnSync('nix-build', ['--no-out-link', join(folder, 'build.nix')], {
    env: {
      PATH: process.env.PATH,
      HOME: folder,
      NIX_REMOTE: join(folder, 'store'),
      NIX_CONFIG: `substituters =\nbuild-users-group =\n${setting}`,
    },
    encoding: 'utf8',
  })
  return /available machines:[\s\S]*?(?=error:|$)/.exec(stderr)?.[0] ?? stderr
}

const known = `(${system}, 3, , )`

describe('lists of builders in Nix’ setting', () => {
  it('are read by Nix besides the present list of the host', () => {
    expect(buildersKnownBy(`builders = ${buildersSetting('@/etc/nix/machines', `@${list}`)}`)).toContain(
      known,
    )
  })

  it('are read besides a setting that somebody wrote with spaces', () => {
    const written = buildersSetting(' @/nonexistent ; ssh://other i686-linux - 1 ', `@${list}`)
    expect(written).toBe(`@/nonexistent;ssh://other i686-linux - 1;@${list}`)
    expect(buildersKnownBy(`builders = ${written}`)).toContain(known)
  })

  it('are read from the settings of a machine', () => {
    const settings = nixSettings(nixOptions(debianMachine().options, { usesBuilders: true }))
    const line = settings.split('\n').find((each) => each.startsWith('builders = ')) ?? ''
    expect(line).toContain(listFiles.daemon)
    expect(buildersKnownBy(line.replace(listFiles.daemon, list))).toContain(known)
  })
})
