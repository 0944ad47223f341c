import { derivedNames } from '../common/names.js'

/** Values that are derived only from names, so that they stay the same after a crash and on another day. */
export const names = derivedNames('hydra-ops libvirt')

export function domainUuid(resourceName: string): string {
  return names.uuid('domain', resourceName)
}

/**
 * Derives an address in QEMU's own range. A new `attempt` avoids an address that another machine of the network
 * has.
 */
export function macAddress(deployment: string, machine: string, nic: string, attempt: number): string {
  return names.macAddress(['52', '54', '00'], { deployment, machine, nic, attempt })
}

export const { preferredPort } = names

/** The deployment's LAN. `localaddr=127.0.0.1` keeps each packet on the loopback device. */
export const deploymentLan = names.lan
