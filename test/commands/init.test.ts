import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { readDocument } from '../docs/documents.js'
import { missingLine, stepsOf } from '../docs/walkthrough.js'
import { createFakeOps, type FakeOps } from '../fakes/fake-ops.js'
import { runCli } from './run-cli.js'

let ops: FakeOps
let folder: string
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ho-init-'))
  ops = await createFakeOps()
  Object.assign(ops.local, { run: async () => ({ kind: 'exited', code: 1, stdout: '', stderr: '' }) })
})
afterEach(() => {
  ops.cleanup()
  rmSync(folder, { recursive: true, force: true })
})

const run = (...argv: string[]) => runCli(argv, { ops })

describe('the verb init', () => {
  it('lists its templates without an argument', async () => {
    expect((await run('init')).stdout).toMatch(/\| hydra +\| a whole Hydra on one Debian machine/)
    expect((await run('init', '--plain')).stdout).toMatch(/^hydra\ta whole Hydra/)
    expect(JSON.parse((await run('init', '--json')).stdout)).toEqual([
      { name: 'hydra', summary: expect.stringContaining('Debian') },
    ])
  })

  it('suggests the intended template for an unknown name', async () => {
    const { code, stderr } = await run('init', 'hdyra', '--admin', 'alice')
    expect(code).toBe(2)
    expect(stderr).toContain("unknown option '--admin'")
    expect((await run('init', 'hdyra')).stderr).toBe(
      "error: hydra-ops init has no action 'hdyra'\nhint: did you mean: hydra-ops init hydra\n",
    )
  })

  it('ends for hydra with the next two commands on standard output', async () => {
    const file = join(folder, 'hydra.nix')
    expect(await run('init', 'hydra', file, '--admin', 'alice', '--state', '/s')).toEqual({
      code: 0,
      stdout: `hydra-ops create ${file} -d hydra --state /s\nhydra-ops deploy -d hydra --state /s\n`,
      stderr: expect.stringMatching(
        /^note: this host has no nixpkgs; .*\nwrote .*; check the file, then run:\n$/,
      ),
    })
    expect(readFileSync(file, 'utf8')).toContain('userName = "alice";')
  })

  it('prints what the walkthrough of a first Hydra promises', async () => {
    const document = readDocument('docs/first-hydra.md')
    const file = join(folder, 'hydra.nix')
    const step = stepsOf(document.replaceAll('./hydra.nix', file)).find(
      ({ heading }) => heading === 'Describe it',
    )
    expect(step?.commands).toContain(`hydra-ops init hydra ${file} --admin alice`)
    const { stdout, stderr } = await run('init', 'hydra', file, '--admin', 'alice')
    expect(missingLine(step?.prints ?? [], stderr + stdout)).toBeUndefined()
  })

  it('gives scripts the same for hydra as JSON, with flags before the verb too', async () => {
    const file = join(folder, 'hydra.nix')
    const { code, stdout } = await run('--state', '/s', 'init', 'hydra', file, '--admin', 'alice', '--json')
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toEqual({
      file,
      deployment: 'hydra',
      next: [`hydra-ops create ${file} -d hydra --state /s`, 'hydra-ops deploy -d hydra --state /s'],
    })
  })

  it('explains every flag of hydra, with examples', async () => {
    const { stdout } = await run('init', 'hydra', '--help')
    for (const flag of [
      'provider',
      'target-host',
      'host-name',
      'http-port',
      'admin',
      'full-name',
      'email',
      'password',
      'package',
    ])
      expect(stdout).toContain(`--${flag} <`)
    expect(stdout).toMatch(/\nExamples:\n {2}hydra-ops init hydra\n/)
  })

  it('names the missing flags of hydra without a terminal', async () => {
    const { code, stderr } = await run('init', 'hydra', join(folder, 'x.nix'), '--provider', 'none')
    expect(code).toBe(2)
    expect(stderr).toContain(
      'these flags are missing: --target-host HOST, --host-name NAME, --admin NAME\nhint: ',
    )
    expect((await run('init', 'hydra', '--provider', 'libvrit')).code).toBe(2)
  })
})
