import { type CommonOptions, CommonOptions as commonOptions } from '../../src/core/common-options.js'
import { MachineName } from '../../src/core/names.js'

/** A Debian machine's definition, as far as set-up, keys and checks look at it. */
export function debianMachine(options: Record<string, unknown> = {}) {
  const parsed: CommonOptions = commonOptions.parse({ os: 'debian', ...options })
  return {
    name: MachineName.parse('web'),
    options: parsed,
    providerName: 'libvirt',
    provider: {},
    files: {},
    units: {},
    packageCount: 0,
    hasActivate: false,
    origins: {},
  }
}
