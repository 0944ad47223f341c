import { readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { LibvirtConfig, optionKey } from '../../../providers/libvirt/config.js'
import { createLibvirtProvider } from '../../../providers/libvirt/index.js'
import { localCommands } from '../../../src/exec/local-commands.js'
import { ScratchNix } from '../../fakes/scratch-nix.js'
import { commonValues, differences, optionsContract } from '../options-module.js'

const nix = new ScratchNix()
afterAll(() => nix.dispose())

const declared = { nix, key: optionKey, schema: LibvirtConfig }
const { optionsNix } = createLibvirtProvider({ local: localCommands })

const values: readonly unknown[] = [
  ...commonValues,
  ...['lan', 'auto', 'kvm', 'xen', 'fwcfg'],
  ...['qemu:///session', 'qemu+unix:///system', 'test:///default'],
  ...['qemu+ssh://root@elsewhere/system', 'x qemu:///'],
  ...[['lan'], ['lan', 'default'], ['1', '2', '3', '4', '5', '6', '7', '8']],
  ...[['1', '2', '3', '4', '5', '6', '7', '8', '9']],
  ...[[{ network: 'default' }], [{ network: '' }], [{ network: 1 }]],
  ...[[{ bridge: 'br0' }], [{ bridge: 'a/b' }], [{ bridge: 'sixteen-letters-' }]],
  ...[[{ bridge: 'br0', network: 'default' }], [{ vlan: 3 }], [{}]],
  ...[{ data: 20 }, { data: 0 }, { data: '20' }, { data: 65_537 }, { '../x': 1 }, { '-x': 1 }],
  ...[{ ['x'.repeat(20)]: 1 }, { ['x'.repeat(21)]: 1 }, { bridge: 'br0' }, { data: 1, 'b b': 1 }],
]

describe('options.nix of libvirt, evaluated by Nix,', () => {
  optionsContract(declared, optionsNix, () => values)

  it('leaves duplicate networks and ports, which no type can refuse, to the schema', async () => {
    const port = { host: 8080, guest: 80 }
    const twice = [{ networks: ['lan', 'lan'] }, { forwardPorts: [port, { ...port, guest: 81 }] }]
    expect(await differences(declared, optionsNix, twice)).toEqual(
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
    // The planted module is in another folder, but imports the same file.
    const types = join(dirname(optionsNix), '../../nix/types.nix')
    writeFileSync(module, text.replace(ours, planted).replace('../../nix/types.nix', types))
    const found = await differences(declared, module, [
      {},
      { memorySize: 1024 },
      { memorySize: 63 },
      { vcpu: 1 },
    ])
    expect(found.filter((line) => sentence.test(line))).toHaveLength(1)
  })
})
