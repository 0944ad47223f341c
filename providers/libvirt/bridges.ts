import { existsSync } from 'node:fs'
import { usageError } from '../../src/core/errors.js'
import type { Network } from './config.js'

/**
 * Refuses bridges that this host does not have, before anything is made: libvirt says it only when the guest starts.
 * `interfaces` is where the kernel lists the network interfaces.
 */
export function refuseMissingBridges(
  machine: string,
  networks: readonly Network[],
  interfaces = '/sys/class/net',
): void {
  const wanted = networks.flatMap((each) =>
    typeof each === 'object' && 'bridge' in each ? [each.bridge] : [],
  )
  const missing = wanted.find((name) => !existsSync(`${interfaces}/${name}/bridge`))
  if (missing === undefined) return
  const isOther = existsSync(`${interfaces}/${missing}`)
  throw usageError(
    `machine '${machine}': deployment.libvirtd.networks: ${isOther ? `${missing} is no bridge` : `this host has no bridge '${missing}'`}`,
    { machine, hint: 'ip link show type bridge lists the bridges of this host' },
  )
}
