import { derivedNames } from '../common/names.js'

/** All values here follow from names alone, so they are the same after a crash and on another day. */
export const names = derivedNames('hydra-ops virtualbox')

export function machineUuid(resourceName: string): string {
  return names.uuid('machine', resourceName)
}

/** Makes an address in VirtualBox's own range. `attempt` avoids one that another machine of the network has. */
export function macAddress(deployment: string, machine: string, nic: string, attempt: number): string {
  return names.macAddress(['08', '00', '27'], { deployment, machine, nic, attempt })
}

/** Names the internal network of a deployment: VirtualBox makes the network when its first machine starts. */
export function lanName(deployment: string): string {
  return `hydra-ops-${deployment}`
}
