import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { removeStore } from '../../nix/temporary-store.js'
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
    env: { HYDRA_OPS_STATE: state, HYDRA_OPS_FOLDERS: join(folder, 'folders') },
  })
}

/** Packs a folder, and installs the package beside the other packages, as a user does. */
async function install(source: string, ...flags: string[]): Promise<void> {
  const before = new Set(readdirSync(folder))
  const packed = await run(['npm', 'pack', '--ignore-scripts', '--pack-destination', folder], source)
  expect(packed).toMatchObject({ kind: 'exited', code: 0 })
  const tarball = readdirSync(folder).find((name) => name.endsWith('.tgz') && !before.has(name)) ?? ''
  const quiet = ['--no-audit', '--no-fund', '--ignore-scripts', '--loglevel=error', ...flags]
  const installing = await run(['npm', 'install', ...quiet, join(folder, tarball)], folder)
  expect(installing).toMatchObject({ kind: 'exited', code: 0 })
}

const hydraOps = (...args: string[]) => hydraOpsWith(join(folder, 'state'), ...args)
const hydraOpsWith = (state: string, ...args: string[]) =>
  run([join(folder, 'node_modules/.bin/hydra-ops'), ...args], folder, state)

/** Creates a state folder with a deployment whose machines come from a provider. */
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

/** Installs a third-party provider beside hydra-ops; its `resourceId` fails for every machine. */
function installPlugin(name: string, providerInterface = 1): void {
  const methods = ['imageReference', 'imageId', 'allocate', 'ports', 'physical', 'publishedUrls', 'inspect']
    .concat('plan', 'reconcile', 'start', 'stop', 'destroy', 'target')
    .map((method) => `${method}: () => undefined`)
  const module = join(folder, 'node_modules', name)
  mkdirSync(module)
  const manifest = { name, type: 'module', exports: './index.js', hydraOps: { providerInterface } }
  writeFileSync(join(module, 'package.json'), JSON.stringify(manifest))
  writeFileSync(join(module, 'options.nix'), '{ ... }: { }')
  writeFileSync(
    join(module, 'index.js'),
    `import { fileURLToPath } from 'node:url'
import { failure } from 'hydra-ops/provider'
const schema = { safeParse: (data) => ({ success: true, data }) }
export default {
  name: 'cloud', targetEnvs: ['cloud'], makesMachines: true, ${methods.join(', ')},
  optionsNix: fileURLToPath(new URL('options.nix', import.meta.url)),
  configSchema: schema, allocationSchema: schema, handleSchema: schema,
  resourceId: ({ machine }) => { throw failure('CLOUD', 'the cloud forgot ' + machine, { hint: 'wait for rain' }) },
}`,
  )
}

// The package is packed from the sources and installed into an empty folder, as a user would do.
beforeAll(async () => {
  expect(existsSync(join(top, 'dist/src/cli.js')), 'npm run build comes first').toBe(true)
  folder = mkdtempSync(join(tmpdir(), 'hydra-ops-package-'))
  await install(top, '--prefer-offline')
  installed = join(folder, 'node_modules/hydra-ops')
}, 10 * minutes)

// The test of the example creates a Nix store, whose folders are read-only.
afterAll(() => removeStore(folder))

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

it('the package refuses a plugin for another interface in two lines, and forgets the plugin when asked', async () => {
  const state = join(folder, 'newer')
  installPlugin('hydra-ops-newer', 7)
  await hydraOpsWith(state, 'config', 'set', 'plugins', 'hydra-ops-newer')
  expect(await hydraOpsWith(state, 'list')).toMatchObject({
    code: 2,
    stderr:
      "error: provider plugin 'hydra-ops-newer': it needs provider interface 7, and this hydra-ops has 1\n" +
      'hint: install a newer hydra-ops, or an older version of the plugin\n',
  })
  expect(await hydraOpsWith(state, 'config', 'unset', 'plugins')).toMatchObject({ code: 0 })
  expect(await hydraOpsWith(state, 'list')).toMatchObject({ code: 0 })
})

describe('the example of a provider', () => {
  // The installation of hydra-ops has fetched every package that the example needs, so `--offline` works.
  beforeAll(() => install(join(top, 'examples/provider'), '--offline'), 10 * minutes)

  it('is loaded by the name of its package, and keeps a machine from its plan to its end', async () => {
    const state = join(folder, 'desk')
    const network = join(folder, 'node_modules/hydra-ops/examples/provider/network.nix')
    const desk = (verb: string, ...flags: string[]) => hydraOpsWith(state, verb, '-d', 'desk', ...flags)
    await hydraOpsWith(state, 'config', 'set', 'plugins', 'hydra-ops-provider-folder')
    expect(await hydraOpsWith(state, 'create', network, '-d', 'desk')).toMatchObject({ code: 0 })
    const planned = await desk('plan')
    expect(planned.stdout).toMatch(
      /^desk +folder +create +folder .*-desk · proposed ports 127\.0\.0\.1:30001$/m,
    )
    expect(await desk('deploy', '--create-only', '--yes')).toMatchObject({ code: 0 })
    const [name = ''] = readdirSync(join(folder, 'folders'))
    expect(readFileSync(join(folder, 'folders', name, 'memo.txt'), 'utf8')).toBe('the machine under the desk')
    expect((await desk('info', '--no-probe', '--no-eval')).stdout).toContain(name)
    expect(await desk('stop')).toMatchObject({ code: 0 })
    expect(await desk('destroy', '--yes')).toMatchObject({ code: 0 })
    expect(readdirSync(join(folder, 'folders'))).toEqual([])
  })

  it('has its options checked before anything is touched', async () => {
    const state = join(folder, 'wrong')
    const network = join(folder, 'wrong.nix')
    writeFileSync(
      network,
      '{ desk.deployment = { os = "debian"; targetEnv = "folder"; folder.mmemo = "x"; }; }',
    )
    await hydraOpsWith(state, 'config', 'set', 'plugins', 'hydra-ops-provider-folder')
    await hydraOpsWith(state, 'create', network, '-d', 'wrong')
    expect(await hydraOpsWith(state, 'plan', '-d', 'wrong')).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/deployment\.folder\.mmemo: unknown option; did you mean 'memo'\?/),
    })
  })

  describe('as its author has it, beside the installed hydra-ops,', () => {
    const program = (name: string) => join(top, 'node_modules', name)
    beforeAll(() => {
      cpSync(join(top, 'examples/provider'), join(folder, 'author'), { recursive: true })
      for (const name of ['vitest', '@types']) symlinkSync(program(name), join(folder, 'node_modules', name))
    })

    it('passes the contract of providers', async () => {
      const report = join(folder, 'report.json')
      const argv = [process.execPath, program('vitest/vitest.mjs'), 'run', '--reporter=json']
      await run([...argv, `--outputFile=${report}`], join(folder, 'author'))
      const { numPassedTests, numTotalTests } = JSON.parse(readFileSync(report, 'utf8'))
      expect(numPassedTests).toBeGreaterThanOrEqual(18)
      expect(numPassedTests).toBe(numTotalTests)
    })

    it('fits the published types', async () => {
      const strict = ['--noEmit', '--allowJs', '--checkJs', '--strict', '--skipLibCheck', '--types', 'node']
      const modules = ['--target', 'es2022', '--module', 'nodenext', '--moduleResolution', 'nodenext']
      const compiler = [process.execPath, program('typescript/bin/tsc'), ...strict, ...modules]
      const files = ['index.js', 'contract.test.js']
      expect(await run([...compiler, ...files], join(folder, 'author'))).toMatchObject({
        code: 0,
        stdout: '',
      })
    })
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
