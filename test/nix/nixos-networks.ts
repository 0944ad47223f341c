import type { MachineDefinition, NetworkDefinition } from '../../src/core/definition.js'
import { MachineName } from '../../src/core/names.js'
import { fixtureNixpkgs, type NixSandbox } from './real-nix.js'

/** The nixpkgs of a network. */
export const network = `network.nixpkgs = ${fixtureNixpkgs};`

/** Definitions without which no system boots. */
export const bootable = 'boot.loader.grub.device = "/dev/vda"; fileSystems."/".device = "/dev/vda1";'

export function machineOf(evaluated: NetworkDefinition, name = 'web'): MachineDefinition {
  const machine = evaluated.machines.get(MachineName.parse(name))
  if (machine === undefined) throw new Error(`no machine ${name}`)
  return machine
}

/** Evaluates a network of which a machine puts values into its tags, and returns these. */
export async function tagsOf(nix: NixSandbox, text: string, name = 'web'): Promise<readonly string[]> {
  nix.write('hydra.nix', text)
  return machineOf(await nix.evaluate('hydra.nix', { mode: 'shape' }), name).options.tags
}
