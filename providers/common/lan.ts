import { usageError } from '../../src/core/errors.js'
import type { AllocationRequest } from '../../src/core/provider.js'
import type { DerivedNames } from './names.js'

/** Number of addresses in a /24, without the first and the last address. */
const mostMachines = 254

type Request = Pick<AllocationRequest<unknown, unknown>, 'deployment' | 'machine' | 'index'>

/**
 * Returns the machine's address in the deployment's LAN. `without` is the hint for a machine that can do without
 * a LAN.
 */
export function lanOf(
  { deployment, machine, index }: Request,
  names: Pick<DerivedNames, 'lan'>,
  without: string,
): { address: string; group: string; port: number } {
  if (index > mostMachines) {
    throw usageError(
      `machine '${machine}' is number ${index}, but a LAN has addresses for ${mostMachines} machines only`,
      {
        machine,
        hint: `${without}, or create a second deployment`,
      },
    )
  }
  const { group, port, prefix } = names.lan(deployment)
  return { address: `${prefix}.${index}`, group, port }
}

/**
 * Returns a function that chooses MAC addresses. It never returns an address of `others`, or the same address
 * twice.
 */
export function macChooser(
  others: readonly string[],
  addressOf: (nic: string, attempt: number) => string,
): (nic: string) => string {
  const taken = new Set(others)
  return (nic) => {
    for (let attempt = 0; ; attempt += 1) {
      const mac = addressOf(nic, attempt)
      if (taken.has(mac)) continue
      taken.add(mac)
      return mac
    }
  }
}
