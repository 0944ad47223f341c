import type { MachineDefinition } from '../core/definition.js'
import { debian } from './debian/debian.js'
import type { System } from './system.js'

/** Returns the system that inspects, prepares and activates machines of this kind. */
export function systemOf({ os, name }: Pick<MachineDefinition, 'os' | 'name'>): System {
  if (os === 'debian') return debian
  // The evaluation refuses other kinds before anything else happens.
  throw new Error(`machine '${name}': hydra-ops knows no system called "${os}"`)
}
