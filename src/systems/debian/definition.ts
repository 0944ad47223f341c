import type { DebianMachine, MachineDefinition } from '../../core/definition.js'

/** Narrows the definition for code that only Debian machines reach; any other machine there is a bug. */
export function debianDefinition(definition: MachineDefinition): DebianMachine {
  if (definition.os === 'debian') return definition
  throw new Error(`machine '${definition.name}' is not a Debian machine; deployment.os is "${definition.os}"`)
}
