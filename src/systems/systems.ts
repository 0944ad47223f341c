import type { MachineDefinition } from '../core/definition.js'
import { debian } from './debian/debian.js'
import type { System } from './system.js'

/** Returns how machines of this kind are looked at, prepared and activated. */
export function systemOf({ os, name }: Pick<MachineDefinition, 'os' | 'name'>): System {
  if (os === 'debian') return debian
  // The evaluation refuses other kinds before anything else is done.
  throw new Error(`machine '${name}': no system is called "${os}"`)
}
