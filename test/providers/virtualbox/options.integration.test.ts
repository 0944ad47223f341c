import { afterAll, describe, expect, it } from 'vitest'
import { optionKey, VirtualBoxConfig } from '../../../providers/virtualbox/config.js'
import { createVirtualBoxProvider } from '../../../providers/virtualbox/index.js'
import { localCommands } from '../../../src/exec/local-commands.js'
import { ScratchNix } from '../../fakes/scratch-nix.js'
import { commonValues, differences, optionsContract } from '../options-module.js'

const nix = new ScratchNix()
afterAll(() => nix.dispose())

const declared = { nix, key: optionKey, schema: VirtualBoxConfig }
const { optionsNix } = createVirtualBoxProvider({ local: localCommands })

const values: readonly unknown[] = [
  ...commonValues,
  ...['sata', 'virtio', 'ide', 'bios', 'efi', 'uefi', 'fwcfg'],
  ...[
    ['--nested-hw-virt', 'on'],
    ['a', 1],
  ],
  ...[{ 'vm-execution-engine': 'recompiler' }, { 'Vm-Engine': 'x' }, { vram: 16 }, { '-x': 'y' }],
  ...[
    { data: { port: 1, size: 10 } },
    { data: { port: 7, size: 64_000_000 } },
    { data: { port: 8, size: 10 } },
  ],
  ...[{ data: { port: 1, size: -1 } }, { data: { port: 1, size: 64_000_001 } }],
  ...[{ data: { port: 1, baseImage: './data.vmdk' } }, { data: { port: 1, baseImage: 3 } }, { data: 20 }],
  ...[
    { disk1: { port: 0 } },
    { disk1: { size: 20_480 } },
    { disk1: { port: 3, size: 0, baseImage: null } },
    { data: { port: '1', size: 10 } },
  ],
  ...[{ '../x': { port: 1, size: 10 } }, { [`${'x'.repeat(21)}`]: { port: 1, size: 10 } }],
  ...[{ data: { port: 1, size: 10, more: 1 } }],
  ...[{ share: { hostPath: '/srv' } }, { share: { hostPath: 'srv' } }, { share: { readOnly: true } }],
  ...[{ share: { hostPath: '/srv', readOnly: 'no' } }, { share: { hostPath: '/srv', more: 1 } }],
  ...[
    { adapter: 'vboxnet0' },
    { network: 'HostNetwork' },
    { adapter: '' },
    { adapter: 'vboxnet0', network: null },
  ],
  ...[
    { adapter: 'vboxnet0', address: '192.168.56.10/24' },
    { adapter: 'vboxnet0', address: '192.168.56.10' },
  ],
  ...[
    { adapter: 'vboxnet0', address: '::1/64' },
    { adapter: 'vboxnet0', mask: '24' },
  ],
]

/** Sets of options that every type accepts, although each set breaks a rule of the schema. */
const beyondTypes = [
  { hostOnly: {} },
  { hostOnly: { adapter: 'vboxnet0', network: 'HostNetwork' } },
  { disks: { a: { port: 1, size: 10 }, b: { port: 1, size: 10 } } },
  { disks: { data: { port: 0, size: 10 } } },
  { disks: { data: { port: 1 } } },
  { disks: { data: { size: 10 } } },
  {
    natForwards: [
      { host: 8080, guest: 80 },
      { host: 8080, guest: 81 },
    ],
  },
]

/** Returns the values for an option, except the values in `beyondTypes`. */
function valuesFor(name: string): unknown[] {
  const apart = new Set(beyondTypes.map((options) => JSON.stringify(Reflect.get(options, name))))
  // Nix imports a path that replaces a set as a module. An unreadable file would end the whole evaluation.
  const isPath = (value: unknown) => typeof value === 'string' && value.startsWith('/')
  return values.filter(
    (value) => !apart.has(JSON.stringify(value)) && !(name === 'hostOnly' && isPath(value)),
  )
}

describe('options.nix of VirtualBox, evaluated by Nix,', () => {
  optionsContract(declared, optionsNix, valuesFor)

  it('leaves rules about several values, which are not types, to the schema', async () => {
    expect(await differences(declared, optionsNix, beyondTypes)).toEqual(
      beyondTypes.map(
        (options) => `${JSON.stringify(options)}: the schema refuses it and the module does not`,
      ),
    )
  })
})
