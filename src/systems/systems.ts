import type { MachineDefinition } from '../core/definition.js'
import { debian } from './debian/debian.js'
import { nixos } from './nixos/nixos.js'
import type { System } from './system.js'

/** Returns the system that inspects, prepares and activates machines of this kind. */
export function systemOf({ os }: Pick<MachineDefinition, 'os' | 'name'>): System {
  return os === 'debian' ? debian : nixos
}
