import { derivedNames } from '../common/names.js'

/** Every value here is derived from names alone, so a later run computes the same value, even after a crash. */
export const names = derivedNames('hydra-ops virtualbox')

export function machineUuid(resourceName: string): string {
  return names.uuid('machine', resourceName)
}

/**
 * Returns a MAC address in VirtualBox's own range. A higher `attempt` avoids the address of another machine in the
 * network.
 */
export function macAddress(deployment: string, machine: string, nic: string, attempt: number): string {
  return names.macAddress(['08', '00', '27'], { deployment, machine, nic, attempt })
}

/** Names the internal network of a deployment. VirtualBox creates the network when its first machine starts. */
export function lanName(deployment: string): string {
  return `hydra-ops-${deployment}`
}
