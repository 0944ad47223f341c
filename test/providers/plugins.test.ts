import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createRegistry } from '../../providers/registry.js'
import type { LocalCommands } from '../../src/core/context.js'
import { createFakeSsh } from '../fakes/fake-ssh.js'

const noProgram = (): never => {
  throw new Error('no program is run')
}
const local: LocalCommands = {
  run: async () => noProgram(),
  interactive: async () => noProgram(),
  spawnDuplex: noProgram,
  spawnReadable: noProgram,
}

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hydra-ops-plugin-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

const registry = (plugins: readonly string[], startedAs?: string) =>
  createRegistry({ local, ssh: createFakeSsh(), plugins, startedAs })

/** Writes an npm package; returns its folder. */
function pluginPackage(code: string, manifest: object = {}, at = join(folder, 'plugin')): string {
  const text = { type: 'module', exports: './index.js', hydraOps: { providerInterface: 1 }, ...manifest }
  mkdirSync(at, { recursive: true })
  writeFileSync(join(at, 'package.json'), JSON.stringify(text))
  writeFileSync(join(at, 'index.js'), code)
  writeFileSync(join(at, 'options.nix'), '{ ... }: { }')
  return at
}

const schema = '{ safeParse: (data) => ({ success: true, data }) }'
const methods = ['imageReference', 'imageId', 'allocate', 'ports', 'physical', 'publishedUrls', 'inspect']
  .concat(['plan', 'reconcile', 'start', 'stop', 'destroy', 'target'])
  .map((method) => `${method}() {}`)
  .join(', ')

/** Returns the code of a complete provider; `changes` come last, and replace earlier properties. */
const provider = (changes = '') => `import { fileURLToPath } from 'node:url'
export default {
  name: 'cloud', targetEnvs: ['cloud'], optionKey: 'cloud', makesMachines: false,
  optionsNix: fileURLToPath(new URL('options.nix', import.meta.url)),
  configSchema: ${schema}, allocationSchema: ${schema}, handleSchema: ${schema},
  ${methods}, resourceId: ({ machine }) => 'id of ' + machine, ${changes}
}`

describe('a provider plugin', () => {
  it('behaves like a provider of ours, given as the folder of its package', async () => {
    const { named } = await registry([pluginPackage(provider())])
    expect(named('cloud').targetEnvs).toEqual(['cloud'])
  })

  it.each([
    ['a text', { exports: './index.js' }],
    ['conditions', { exports: { '.': { types: './index.d.ts', import: './index.js' } } }],
    ['conditions alone', { exports: { default: './index.js' } }],
    ['the field main', { exports: undefined, main: 'index.js' }],
    ['no field', { exports: undefined }],
  ])('is loaded from the file that its package.json names by %s', async (_, manifest) => {
    expect((await registry([pluginPackage(provider(), manifest)])).named('cloud').makesMachines).toBe(false)
  })

  it.each(['hydra-ops-cloud', '@clouds/provider'])(
    'is found by the name %s beside the link by which hydra-ops was started',
    async (name) => {
      const prefix = join(folder, 'prefix')
      pluginPackage(provider(), {}, join(prefix, 'lib/node_modules', name))
      const checkout = join(folder, 'checkout')
      mkdirSync(join(checkout, 'dist/src'), { recursive: true })
      writeFileSync(join(checkout, 'dist/src/cli.js'), '')
      symlinkSync(checkout, join(prefix, 'lib/node_modules/hydra-ops'))
      const program = join(prefix, 'bin/hydra-ops')
      mkdirSync(dirname(program))
      symlinkSync('../lib/node_modules/hydra-ops/dist/src/cli.js', program)
      expect((await registry([name], program)).named('cloud').name).toBe('cloud')
    },
  )
})

describe('a plugin that cannot be used is refused, with the name of the fault:', () => {
  const refused = (why: RegExp) =>
    expect.objectContaining({
      name: 'OpsError',
      exitCode: 2,
      message: expect.stringMatching(why),
      hint: expect.stringMatching(/./),
    })

  it.each([
    ['nothing', 'export const x = 1', /its default export is not a provider/],
    ['no name', 'export default {}', /has no 'name'/],
    ['no words', provider('targetEnvs: []'), /has no 'targetEnvs'/],
    ['words that are not texts', provider('targetEnvs: [1]'), /has no 'targetEnvs'/],
    ['no answer', provider("makesMachines: 'yes'"), /has no boolean 'makesMachines'/],
    ['no schema', provider('handleSchema: {}'), /has no 'handleSchema' \(a zod schema\)/],
    ['no method', provider('destroy: undefined'), /has no method 'destroy'/],
    ['a power that is none', provider("doctor: 'well'"), /has a 'doctor' that is not a method/],
    ['half a power', provider('snapshots: { list() {} }'), /has no method 'snapshots\.create'/],
    ['a console without methods', provider('console: true'), /has a 'console' that is not a set of methods/],
    ['no module', provider('optionsNix: undefined'), /has no 'optionsNix'/],
    [
      'a lost module',
      provider("optionsNix: '/nowhere/options.nix'"),
      /not an absolute path of a file: \/nowhere/,
    ],
    ['a key that is not a name', provider("optionKey: 'a b'"), /'optionKey' that is not a name of an option/],
    [
      'a key of every machine',
      provider("optionKey: 'keys'"),
      /deployment\.keys is an option of every machine/,
    ],
    [
      'options without a key',
      provider('optionKey: undefined, configSchema: { safeParse: () => ({ success: false }) }'),
      /its 'configSchema' refuses a machine without options/,
    ],
    ['code that is none', 'export default {', /its code cannot be loaded: /],
    [
      'code that throws',
      "throw new Error('the cloud is dry')",
      /its code cannot be loaded: the cloud is dry/,
    ],
    ['an absent import', "import 'nobody-wrote-this'", /its code cannot be loaded: Cannot find package/],
  ])('%s', async (_, code, why) => {
    const place = pluginPackage(code)
    await expect(registry([place])).rejects.toEqual(refused(why))
    await expect(registry([place])).rejects.toThrow(`provider plugin '${place}': `)
  })

  it.each([
    ['a newer interface', { hydraOps: { providerInterface: 2 } }, /needs provider interface 2.* has 1/],
    ['an older interface', { hydraOps: { providerInterface: 0 } }, /needs provider interface 0.* has 1/],
    ['no interface', { hydraOps: undefined }, /does not name its provider interface/],
    ['an interface in words', { hydraOps: { providerInterface: 'one' } }, /hydraOps\.providerInterface: /],
    ['a lost file', { exports: './gone.js' }, /names a file that does not exist: .*gone\.js/],
  ])('%s, before its code runs', async (_, manifest, why) => {
    await expect(registry([pluginPackage("throw new Error('it ran')", manifest)])).rejects.toEqual(
      refused(why),
    )
  })

  it('a package.json that is not JSON', async () => {
    const place = pluginPackage(provider())
    writeFileSync(join(place, 'package.json'), '{')
    await expect(registry([place])).rejects.toEqual(refused(/package\.json cannot be used: /))
  })

  it.each([
    [
      'a package that nobody installed',
      'hydra-ops-provider-that-nobody-wrote',
      /there is no such package in \//,
    ],
    ['a folder that is not there', '/nowhere/plugin', /there is no \/nowhere\/plugin\/package\.json/],
    ['a relative path', './plugin', /neither the name of an npm package nor an absolute path/],
    ['a path through a package', 'cloud/../../plugin', /neither the name of an npm package nor/],
  ])('%s', async (_, plugin, why) => {
    await expect(registry([plugin])).rejects.toEqual(refused(why))
  })

  it.each([
    [
      'the name in an expression',
      "targetEnvs: ['libvirtd']",
      "'libvirt' and 'cloud' both use the name 'libvirtd'",
    ],
    ['the name', "name: 'ssh', targetEnvs: ['cloud']", "'ssh' and 'ssh' both use the name 'ssh'"],
    [
      'the options',
      "optionKey: 'virtualbox'",
      "'virtualbox' and 'cloud' both use the name 'deployment.virtualbox'",
    ],
  ])('%s of a provider of ours', async (_, changes, sentence) => {
    await expect(registry([pluginPackage(provider(changes))])).rejects.toMatchObject({
      exitCode: 2,
      message: `providers ${sentence}`,
    })
  })

  it('a plugin that is named twice', async () => {
    const place = pluginPackage(provider())
    await expect(registry([place, place])).rejects.toThrow(/both use the name 'cloud'/)
  })
})
