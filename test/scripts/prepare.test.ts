import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { packageRoot } from '../../src/core/package-root.js'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hydra-ops-script-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

/** Runs shell lines after scripts/prepare.sh, with which every script begins, in an empty folder. */
function script(...lines: readonly string[]) {
  const sourced = `source ${join(packageRoot(), 'scripts', 'prepare.sh')}`
  return spawnSync('bash', ['-c', ['set -uo pipefail', sourced, ...lines].join('\n')], { cwd: folder })
}

const two = [
  'mkdir -p first/below second kept',
  'short_lived+=("$PWD/first")',
  'short_lived+=("$PWD/second")',
]

describe('the folders that a script needs for its own time', () => {
  it.each([
    ['comes to its end', 'true', { status: 0, signal: null }],
    ['fails', 'exit 3', { status: 3, signal: null }],
    ['gives up', 'give_up nothing 2>/dev/null', { status: 1, signal: null }],
    ['is interrupted', 'kill -INT $$', { status: null, signal: 'SIGINT' }],
    ['is ended', 'kill -TERM $$', { status: null, signal: 'SIGTERM' }],
    ['loses its terminal', 'kill -HUP $$', { status: null, signal: 'SIGHUP' }],
  ])('are all removed when the script %s', (_, end, how) => {
    expect(script(...two, end)).toMatchObject(how)
    expect(readdirSync(folder)).toEqual(['kept'])
  })

  it('are none at first, and a script without a folder ends as usual', () => {
    writeFileSync(join(folder, 'file'), '')
    expect(script('exit 4')).toMatchObject({ status: 4 })
    expect(existsSync(join(folder, 'file'))).toBe(true)
  })

  it('include the home of the tests when the usual home has too long a path', () => {
    const lines = [`home_of_worker() { printf '/%050d' 0; }`, 'is_root() { false; }', 'choose_home']
    const { stdout } = script(...lines, 'test -d "$home" && printf %s "$home"')
    expect(stdout.toString()).toMatch(/^\/tmp\/hydra-ops-test\./)
    expect(existsSync(stdout.toString())).toBe(false)
  })
})
