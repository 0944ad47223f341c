import { DebianOptions } from '../../src/core/debian-options.js'
import type { DebianMachine } from '../../src/core/definition.js'
import { MachineName } from '../../src/core/names.js'

/** Creates a Debian machine's definition, with the parts that set-up, keys and checks use. */
export function debianMachine(options: Record<string, unknown> = {}): DebianMachine {
  return {
    os: 'debian',
    name: MachineName.parse('web'),
    options: DebianOptions.parse(options),
    providerName: 'libvirt',
    provider: {},
    files: {},
    units: {},
    packageCount: 0,
    hasActivate: false,
    origins: {},
  }
}
