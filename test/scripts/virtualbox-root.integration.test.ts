import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { packageRoot } from '../../src/core/package-root.js'

const script = join(packageRoot(), 'scripts/virtualbox-root.sh')
let home: string
let cache: string
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'ho-script-'))
  cache = join(home, '.cache/hydra-ops-test/virtualbox')
})
afterEach(() => rmSync(home, { recursive: true }))

/** Creates the root folder from a mirror without any release. */
function makeRoot() {
  const env = { PATH: process.env.PATH, HOME: home, DEBIAN_MIRROR: `file://${home}/mirror` }
  return spawnSync(script, { env, encoding: 'utf8' })
}

/** Creates the root folder as an earlier run of a recipe would leave it. */
function earlierRoot(recipe: string): void {
  mkdirSync(join(cache, 'root'), { recursive: true })
  writeFileSync(join(cache, 'root', 'kept'), '')
  writeFileSync(join(cache, 'recipe'), `${recipe}  -\n`)
}

describe('the folder with the real VBoxManage', () => {
  it('is not made from a mirror without Debian sid, and the last line has the reason', () => {
    const { status, stderr } = makeRoot()
    expect(status).toBe(1)
    expect(stderr.trimEnd().split('\n').at(-1)).toMatch(
      /^no Debian sid from file:\/\/\S+: E: The repository '.* sid Release' does not have a Release file/,
    )
    expect(readdirSync(cache)).not.toContain('root')
  })

  it('stays as it is while its recipe is the same, even without a mirror', () => {
    earlierRoot(createHash('sha256').update(readFileSync(script)).digest('hex'))
    expect(makeRoot()).toMatchObject({ status: 0, stderr: '' })
    expect(readdirSync(join(cache, 'root'))).toEqual(['kept'])
  })

  it('is made anew after a change of its recipe', () => {
    earlierRoot('a'.repeat(64))
    expect(makeRoot()).toMatchObject({ status: 1 })
    expect(readdirSync(cache)).not.toContain('root')
  })
})
