import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { MachineRecord } from '../../src/core/deployment.js'
import { DeploymentName, MachineName } from '../../src/core/names.js'
import type { CommandResult } from '../../src/core/ssh.js'
import { localCommands } from '../../src/exec/local-commands.js'
import { createStateFolder } from '../../state/paths.js'
import { createStore } from '../../state/store.js'

const top = join(dirname(fileURLToPath(import.meta.url)), '../..')
const minutes = 60_000

let folder: string
let installed: string

async function run(
  argv: string[],
  cwd: string,
  state = join(folder, 'state'),
): Promise<CommandResult & { code?: number }> {
  const { signal } = new AbortController()
  return localCommands.run(argv, {
    signal,
    timeoutMs: 5 * minutes,
    what: argv.join(' '),
    cwd,
    env: { HYDRA_OPS_STATE: state },
  })
}

const hydraOps = (...args: string[]) => hydraOpsWith(join(folder, 'state'), ...args)
const hydraOpsWith = (state: string, ...args: string[]) =>
  run([join(folder, 'node_modules/.bin/hydra-ops'), ...args], folder, state)

/** Makes a state folder with a deployment whose machines come from a provider. */
async function remember(name: string, provider: string, count: number): Promise<string> {
  const root = join(folder, name)
  const operator = { user: 'test', host: 'test', command: 'test', run: 'test' }
  const store = await createStore({ files: createStateFolder(root, {}), operator, env: {} })
  const record = { name: DeploymentName.parse(name), expressions: ['/x.nix'], searchPath: [], args: {} }
  await store.lock((await store.create(record)).uuid, async (held) => {
    for (let index = 1; index <= count; index++)
      await held.putMachine(MachineName.parse(`m${index}`), machine(provider, index))
  })
  return root
}

function machine(provider: string, index: number): MachineRecord {
  return {
    ...{ provider, os: 'debian', index, allocation: {}, handle: {}, config: {} },
    ...{ obsolete: false, tasks: {}, keys: {}, facts: {} },
  }
}

/** Installs a third party's provider beside hydra-ops, which does not know the provider's machines. */
function installPlugin(name: string): void {
  const methods = ['imageReference', 'imageId', 'allocate', 'ports', 'physical', 'publishedUrls', 'inspect']
    .concat('plan', 'reconcile', 'start', 'stop', 'destroy', 'target')
    .map((method) => `${method}: () => undefined`)
  const module = join(folder, 'node_modules', name)
  mkdirSync(module)
  writeFileSync(join(module, 'package.json'), JSON.stringify({ name, type: 'module', exports: './index.js' }))
  writeFileSync(
    join(module, 'index.js'),
    `import { failure } from 'hydra-ops/provider'
const schema = { safeParse: (data) => ({ success: true, data }) }
export default {
  name: 'cloud', targetEnvs: ['cloud'], optionsNix: '/x.nix', makesMachines: true, ${methods.join(', ')},
  configSchema: schema, allocationSchema: schema, handleSchema: schema,
  resourceId: ({ machine }) => { throw failure('CLOUD', 'the cloud forgot ' + machine, { hint: 'wait for rain' }) },
}`,
  )
}

// The tests take the user's way from the sources: the package is packed, and installed into an empty folder.
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

it('the package prints its version', async () => {
  expect(await hydraOps('--version')).toMatchObject({ code: 0, stdout: '0.1.0\n', stderr: '' })
})

it('the package shows its help', async () => {
  const help = await hydraOps('--help')
  expect(help).toMatchObject({ code: 0, stderr: '' })
  expect(help.stdout).toMatch(/deploy/)
})

it('the package lists no deployments, and leaves nothing behind after a look', async () => {
  const listed = await hydraOps('list', '--json')
  expect(listed.code).toBe(0)
  expect(JSON.parse(listed.stdout)).toEqual({ deployments: [], problems: [] })
  expect(existsSync(join(folder, 'state'))).toBe(false)
})

it('the package brings the Nix files, the scripts for machines, the examples and the documents, and no tests', () => {
  for (const needed of ['dist', 'nix/eval.nix', 'examples/web/network.nix', 'docs', 'README.md', 'LICENSE']) {
    expect(existsSync(join(installed, needed)), needed).toBe(true)
  }
  const nixFiles = readdirSync(join(top, 'providers'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.nix'))
    .map((name) => join(installed, 'providers', name))
  expect(nixFiles.filter((file) => !existsSync(file))).toEqual([])
  expect(nixFiles).not.toEqual([])
  const scripts = readdirSync(join(top, 'target'), { recursive: true, encoding: 'utf8' }).filter((name) =>
    /\.(?:sh|awk)$/.test(name),
  )
  expect(scripts).toContain('lib.sh')
  for (const name of scripts) {
    expect(readFileSync(join(installed, 'target', name), 'utf8'), name).toBe(
      readFileSync(join(top, 'target', name), 'utf8'),
    )
  }
  // The lab needs the stand-ins, which belong to the tests.
  for (const unwanted of ['test', 'dist/test', 'scripts', 'bench', 'src', 'examples/lab']) {
    expect(existsSync(join(installed, unwanted)), unwanted).toBe(false)
  }
})

it('the package brings the licence of each bundled dependency, and bundles only used parts', () => {
  expect(readFileSync(join(installed, 'dist/THIRD-PARTY.txt'), 'utf8')).toMatch(/^zod [\d.]+\n\nMIT License/m)
  const chunks = join(installed, 'dist/chunks')
  const code = readdirSync(chunks).filter((name) => name.endsWith('.js'))
  expect(code.length).toBeGreaterThan(10)
  // zod keeps its Finnish messages there.
  expect(code.filter((name) => readFileSync(join(chunks, name), 'utf8').includes('locales/fi.js'))).toEqual(
    [],
  )
})

it('the package shows the place of an error in terms of the sources', async () => {
  const debugged = await hydraOps('no-such-verb', '--debug')
  expect(debugged).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/at .*src\/commands\/program\.ts:\d+/),
  })
})

it('the package recognises the failure of a plugin as a failure', async () => {
  const state = await remember('clouds', 'cloud', 1)
  installPlugin('hydra-ops-cloud')
  expect(await hydraOpsWith(state, 'config', 'set', 'plugins', 'hydra-ops-cloud')).toMatchObject({ code: 0 })
  expect(await hydraOpsWith(state, 'info', '--no-eval', '--no-probe')).toMatchObject({
    code: 1,
    stderr: 'error: the cloud forgot m1\nhint: wait for rain\n',
  })
})

it('the package writes all of its output to a pipe, also more than a pipe holds', async () => {
  const state = await remember('many', 'ssh', 1_000)
  const hydra = join(folder, 'node_modules/.bin/hydra-ops')
  const piped = ['sh', '-c', '"$0" info --no-eval --no-probe --json | cat', hydra]
  const { stdout } = await run(piped, folder, state)
  expect(stdout.length).toBeGreaterThan(100_000)
  expect(JSON.parse(stdout).machines).toHaveLength(1_000)
})
