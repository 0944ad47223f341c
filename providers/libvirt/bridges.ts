import { existsSync } from 'node:fs'
import { usageError } from '../../src/core/errors.js'
import type { Network } from './config.js'

/**
 * Refuses bridges that this host lacks, before anything is created: libvirt complains only at the start of the
 * guest. `interfaces` is the kernel's folder of network interfaces.
 */
export function refuseMissingBridges(
  machine: string,
  networks: readonly Network[],
  interfaces: string,
): void {
  const wanted = networks.flatMap((each) =>
    typeof each === 'object' && 'bridge' in each ? [each.bridge] : [],
  )
  const missing = [...new Set(wanted)].filter((name) => !existsSync(`${interfaces}/${name}/bridge`))
  if (missing.length === 0) return
  const said = missing.map((name) =>
    existsSync(`${interfaces}/${name}`) ? `'${name}' is not a bridge` : `this host has no bridge '${name}'`,
  )
  throw usageError(`machine '${machine}': deployment.libvirtd.networks: ${said.join('; ')}`, {
    machine,
    hint: 'ip link show type bridge lists the bridges of this host',
  })
}
