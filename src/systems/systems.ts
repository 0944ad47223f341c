import type { MachineDefinition } from '../core/definition.js'
import { isInHome } from '../machine/home.js'
import { debian } from './debian/debian.js'
import { home } from './home/home.js'
import { nixos } from './nixos/nixos.js'
import type { System } from './system.js'

/** Returns the system that inspects, prepares and activates machines of this kind. */
export function systemOf(
  machine: Pick<MachineDefinition, 'os' | 'name'> & Partial<Pick<MachineDefinition, 'options'>>,
): System {
  const { os, options } = machine
  if (options !== undefined && isInHome({ options }, undefined)) return home
  return os === 'debian' ? debian : nixos
}
