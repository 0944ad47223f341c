import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { CommandResult } from '../../src/core/ssh.js'
import { localCommands } from '../../src/exec/local-commands.js'

const top = join(dirname(fileURLToPath(import.meta.url)), '../..')
const minutes = 60_000

let folder: string
let installed: string

async function run(argv: string[], cwd: string): Promise<CommandResult & { code?: number }> {
  const { signal } = new AbortController()
  return localCommands.run(argv, {
    signal,
    timeoutMs: 5 * minutes,
    what: argv.join(' '),
    cwd,
    env: { HYDRA_OPS_STATE: join(folder, 'state') },
  })
}

const hydraOps = (...args: string[]) => run([join(folder, 'node_modules/.bin/hydra-ops'), ...args], folder)

// From the sources to an installation, as a user gets it: packed, and installed into an empty folder.
beforeAll(async () => {
  expect(existsSync(join(top, 'dist/src/cli.js')), 'npm run build comes first').toBe(true)
  folder = mkdtempSync(join(tmpdir(), 'hydra-ops-package-'))
  const packed = await run(['npm', 'pack', '--ignore-scripts', '--pack-destination', folder], top)
  expect(packed).toMatchObject({ kind: 'exited', code: 0 })
  const tarball = readdirSync(folder).find((name) => name.endsWith('.tgz')) ?? ''
  const quiet = ['--prefer-offline', '--no-audit', '--no-fund', '--ignore-scripts', '--loglevel=error']
  const install = await run(['npm', 'install', ...quiet, join(folder, tarball)], folder)
  expect(install).toMatchObject({ kind: 'exited', code: 0 })
  installed = join(folder, 'node_modules/hydra-ops')
}, 10 * minutes)

afterAll(() => rmSync(folder, { recursive: true, force: true }))

it('says its version', async () => {
  expect(await hydraOps('--version')).toMatchObject({ code: 0, stdout: '0.1.0\n', stderr: '' })
})

it('shows its help', async () => {
  const help = await hydraOps('--help')
  expect(help).toMatchObject({ code: 0, stderr: '' })
  expect(help.stdout).toMatch(/deploy/)
})

it('lists no deployments, and leaves nothing behind by looking', async () => {
  const listed = await hydraOps('list', '--json')
  expect(listed.code).toBe(0)
  expect(JSON.parse(listed.stdout)).toEqual({ deployments: [], problems: [] })
  expect(existsSync(join(folder, 'state'))).toBe(false)
})

it('brings the Nix files, the examples and the documents, and nothing of the tests', () => {
  for (const needed of ['dist', 'nix/eval.nix', 'examples/web/network.nix', 'docs', 'README.md', 'LICENSE']) {
    expect(existsSync(join(installed, needed)), needed).toBe(true)
  }
  const nixFiles = readdirSync(join(top, 'providers'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.nix'))
    .map((name) => join(installed, 'providers', name))
  expect(nixFiles.filter((file) => !existsSync(file))).toEqual([])
  expect(nixFiles).not.toEqual([])
  // The lab is of no use without the stand-ins, which belong to the tests.
  for (const unwanted of ['test', 'dist/test', 'scripts', 'bench', 'src', 'examples/lab']) {
    expect(existsSync(join(installed, unwanted)), unwanted).toBe(false)
  }
})
