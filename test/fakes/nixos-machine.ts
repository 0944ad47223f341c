import type { MachineDefinition } from '../../src/core/definition.js'
import { MachineName } from '../../src/core/names.js'
import { NixosOptions } from '../../src/core/nixos-options.js'

/** Creates a NixOS machine's definition, as an evaluation returns it. */
export function nixosMachine(options: Record<string, unknown> = {}): MachineDefinition {
  return {
    os: 'nixos',
    name: MachineName.parse('web'),
    options: NixosOptions.parse(options),
    providerName: 'libvirt',
    provider: {},
    origins: {},
  }
}
