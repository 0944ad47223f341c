import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { LibvirtConfig } from '../../../providers/libvirt/config.js'
import { createLibvirtProvider } from '../../../providers/libvirt/index.js'
import { optionSchema } from '../../../scripts/options/option-schema.js'
import { packageRoot } from '../../../src/core/package-root.js'
import { localCommands } from '../../../src/exec/local-commands.js'
import { ScratchNix } from '../../fakes/scratch-nix.js'

const nix = new ScratchNix()
afterAll(() => nix.dispose())

const fixture = join(packageRoot(), 'test', 'fixtures', 'nixpkgs')
const nixpkgs = process.env.HYDRA_OPS_NIXPKGS ?? fixture
const { optionsNix } = createLibvirtProvider({ local: localCommands })

type Options = Readonly<Record<string, unknown>>

const Evaluated = z.array(z.object({ success: z.boolean(), value: z.unknown() }))

/** Evaluates a module once with each set of options; returns the results or errors. */
async function evaluate(module: string, all: readonly Options[]) {
  const values = join(nix.folder, 'values.json')
  writeFileSync(values, JSON.stringify(all))
  const expression = `let
    lib = import ${nixpkgs}/lib;
    evaluated = libvirtd: (lib.evalModules { modules = [ ${module} { deployment.libvirtd = libvirtd; } ]; }).config.deployment.libvirtd;
    attempt = libvirtd: let config = evaluated libvirtd; in builtins.tryEval (builtins.deepSeq config config);
  in map attempt (builtins.fromJSON (builtins.readFile ${values}))`
  const json = await nix.nix('nix-instantiate', ['--eval', '--strict', '--json', '-'], expression)
  return Evaluated.parse(JSON.parse(json))
}

/** Returns sentences about sets of options that a module and the schema treat differently. */
async function differences(module: string, all: readonly Options[]): Promise<string[]> {
  const evaluated = await evaluate(module, all)
  expect(evaluated).toHaveLength(all.length)
  return all.flatMap((options, index) => {
    const of = JSON.stringify(options)
    const byModule = evaluated[index]
    const bySchema = LibvirtConfig.safeParse(options)
    if (byModule?.success !== bySchema.success) {
      return [`${of}: the schema ${bySchema.success ? 'takes' : 'refuses'} it and the module does not`]
    }
    if (!bySchema.success) return []
    const [left, right] = [LibvirtConfig.safeParse(byModule.value).data, bySchema.data].map((each) =>
      JSON.stringify(sorted(each)),
    )
    return left === right ? [] : [`${of}: the module makes ${left} of it, the schema ${right}`]
  })
}

/** Returns the value with the names of its sets in order. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, each]) => [key, sorted(each)]),
  )
}

const port = { host: 8080, guest: 80 }

/** Values of every type, at and beyond the bounds of each option. */
const values: readonly unknown[] = [
  ...[null, true, false],
  ...[-1, 0, 1, 63, 64, 512, 513, 1024, 65_535, 65_536, 65_537, 1.5],
  ...[
    '',
    ' ',
    'lan',
    'debian-12',
    '/srv/x.qcow2',
    'two\nlines',
    'auto',
    'kvm',
    'xen',
    'fwcfg',
    'none',
    'tcp',
    '1',
  ],
  ...[
    'qemu:///session',
    'qemu+unix:///system',
    'test:///default',
    'qemu+ssh://root@elsewhere/system',
    'x qemu:///',
  ],
  ...['ab'.repeat(32), 'AB'.repeat(32), 'ab'.repeat(33), `${'ab'.repeat(32)}\n`],
  ...[[], [''], ['lan'], ['lan', 'default'], [1], [null], [[]], ['1', '2', '3', '4', '5', '6', '7', '8']],
  ...[['1', '2', '3', '4', '5', '6', '7', '8', '9']],
  ...[
    [{ network: 'default' }],
    [{ network: '' }],
    [{ network: 1 }],
    [{ bridge: 'br0' }],
    [{ bridge: 'a/b' }],
  ],
  ...[[{ bridge: 'sixteen-letters-' }], [{ bridge: 'br0', network: 'default' }], [{ vlan: 3 }], [{}]],
  ...[[port], [{ ...port, proto: 'tcp' }], [{ ...port, proto: 'udp' }], [{ ...port, proto: null }]],
  ...[[{ host: 0, guest: 80 }], [{ host: 1, guest: 65_535 }], [{ host: 80_000, guest: 80 }], [{ host: 80 }]],
  ...[[{ host: '80', guest: 80 }], [{ ...port, more: 1 }], [{ host: 8080.5, guest: 80 }]],
  ...[{}, { data: 20 }, { data: 0 }, { data: '20' }, { data: 65_537 }, { '../x': 1 }, { '-x': 1 }],
  ...[{ ['x'.repeat(20)]: 1 }, { ['x'.repeat(21)]: 1 }, { bridge: 'br0' }, { data: 1, 'b b': 1 }],
]

const names = Object.keys(LibvirtConfig.shape)

describe('options.nix, evaluated by Nix,', () => {
  it('gives every option the default that the schema gives it', async () => {
    expect(await differences(optionsNix, [{}])).toEqual([])
  })

  it.each(names)('accepts and refuses the same values for %s as the schema', async (name) => {
    expect(
      await differences(
        optionsNix,
        values.map((value) => ({ [name]: value })),
      ),
    ).toEqual([])
  })

  it('accepts the example of every option, as the schema does', async () => {
    const { properties = {} } = optionSchema(LibvirtConfig)
    const examples = Object.entries(properties).map(([name, option]) => {
      const { examples: given } = z.object({ examples: z.tuple([z.unknown()]) }).parse(option)
      return { [name]: given[0] }
    })
    expect(examples.map((example) => LibvirtConfig.safeParse(example).success)).toEqual(names.map(() => true))
    expect(await differences(optionsNix, examples)).toEqual([])
  })

  it('refuses a name that the schema does not have', async () => {
    const [unknown] = await evaluate(optionsNix, [{ memorysize: 2048 }])
    expect(unknown?.success).toBe(false)
  })

  it('leaves duplicate networks and ports, which no type can refuse, to the schema', async () => {
    const twice = [{ networks: ['lan', 'lan'] }, { forwardPorts: [port, { ...port, guest: 81 }] }]
    expect(await differences(optionsNix, twice)).toEqual(
      twice.map((options) => `${JSON.stringify(options)}: the schema refuses it and the module does not`),
    )
  })
})

describe('the comparison of module and schema', () => {
  const text = readFileSync(optionsNix, 'utf8')

  it.each([
    [
      'another default',
      'default = 1024;',
      'default = 2048;',
      /^\{\}: the module makes .*2048.* the schema .*1024/,
    ],
    [
      'a narrower type',
      'atLeast 64;',
      'types.ints.between 64 1000;',
      /^\{"memorySize":1024\}: the schema takes it and/,
    ],
    ['a wider type', 'atLeast 64;', 'types.int;', /^\{"memorySize":63\}: the schema refuses it and/],
    [
      'an option that is missing',
      'vcpu = mkOption',
      'cpus = mkOption',
      /^\{"vcpu":1\}: the schema takes it and/,
    ],
  ])('finds %s', async (_, ours, planted, sentence) => {
    expect(text.split(ours)).toHaveLength(2)
    const module = join(nix.folder, 'planted.nix')
    writeFileSync(module, text.replace(ours, planted))
    const found = await differences(module, [{}, { memorySize: 1024 }, { memorySize: 63 }, { vcpu: 1 }])
    expect(found.filter((line) => sentence.test(line))).toHaveLength(1)
  })
})
