import { spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { builderList, buildersSetting } from '../../../src/core/builder-entries.js'
import { listFiles } from '../../../src/setup/builders/relations.js'
import { entriesOf, filesIn, listFault, nixReader } from '../../../src/setup/builders/why/lists.js'
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

/** Requests a build that no builder supports, and returns the builders that the error of the real Nix lists. */
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

describe('a list of builders', () => {
  const reader = nixReader(spawnSync('nix', ['--version'], { encoding: 'utf8' }).stdout)
  const b1 = `ssh://nix-builder@b1 ${system} - 3 1 - - -`
  const b2 = `ssh://b2 ${system} - 5`

  /** Reads a setting and its files as `builders why` does; returns each builder as Nix would show it. */
  function readAs(setting: string, text: string): string[] | undefined {
    const { read } = filesIn(setting, reader)
    const lists = [
      { place: 'the setting builders', text: setting },
      ...read.flatMap((path) => (path === list ? [{ place: path, text }] : [])),
    ]
    if (listFault(lists, reader) !== undefined) return undefined
    return entriesOf(lists, reader, 'x86_64-linux')
      .map(({ systems, maxJobs }) => `(${systems.join(', ')}, ${maxJobs}, , )`)
      .sort()
  }

  /** Returns each builder that the real Nix shows, or undefined if Nix refuses a line. */
  function seenByNix(setting: string, text: string): string[] | undefined {
    writeFileSync(list, text)
    const said = buildersKnownBy(`builders = ${setting}`)
    return said.includes('bad machine specification') ? undefined : (said.match(/^\(.*, \)$/gm) ?? []).sort()
  }

  it.each([
    ['with a comment', `# ours\n${b1}\n`],
    ['with a comment behind a line', `${b1} # ours\n`],
    ['with a semicolon in a comment', `# a; b ${system}\n${b1}\n`],
    ['with a semicolon at the end of a comment', `# a; \n${b1}\n`],
    ['with blanks before a comment', `  # ours\n${b1}\n`],
    ['with a line of blanks', `  \n${b1}\n`],
    ['with empty lines', `\n\n${b1}\n\n`],
    ['with blanks before a line', `  ${b1}\n`],
    ['with a semicolon and a blank at the end of a line', `${b1}; \n`],
    ['with two builders in a line', `${b1} ; ${b2}\n`],
    ['without a number of jobs', `ssh://b2 ${system} - four\n`],
  ])('%s is read as the real Nix reads it', (_, text) => {
    expect(readAs(`@${list}`, text)).toEqual(seenByNix(`@${list}`, text))
  })

  it.each([
    ['after a semicolon', (file: string) => `${b2};@${file}`],
    ['after a semicolon and a blank', (file: string) => `${b2} ; @${file}`],
    ['before a semicolon at the end', (file: string) => `@${file};`],
    ['with a blank after the @', (file: string) => `@ ${file}`],
  ])('that a setting names %s is read if the real Nix reads it', (_, setting) => {
    const seen = seenByNix(setting(list), `${b1}\n`)
    // Nix shows an `@FILE` that it does not read as a builder with that name.
    const named = seen?.filter((each) => !each.startsWith('(x86_64-linux'))
    expect(readAs(setting(list), `${b1}\n`)).toEqual(named)
  })

  it('ends the builds that its Nix could do alone, once a line is bad', () => {
    writeFileSync(list, `  # ours\n${b1}\n`)
    const build = (more: string) => {
      writeFileSync(
        join(folder, 'build.nix'),
        `derivation { name = "near"; system = builtins.currentSystem; builder = "/absent"; ${more} }`,
      )
      return buildersKnownBy(`builders = @${list}`)
    }
    expect(build('')).toContain('bad machine specification')
    expect(build('preferLocalBuild = true;')).not.toContain('bad machine specification')
  })
})
