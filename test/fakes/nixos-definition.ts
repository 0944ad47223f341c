import { NixosMachine } from '../../src/core/definition.js'
import { fakeMachine, fakeStorePath } from './fake-network.js'

/** Creates a NixOS machine of the fake provider; another `version` gives another system. */
export function nixosDefinition(
  name: string,
  given: { readonly version?: string; readonly deployment?: Readonly<Record<string, unknown>> } = {},
): NixosMachine {
  const { providerName, provider, origins } = fakeMachine(name)
  const closure = `nixos-system-${name}-${given.version ?? 'v1'}`
  return NixosMachine.parse({
    os: 'nixos',
    name,
    options: { targetEnv: 'fake', ...given.deployment },
    ...{ providerName, provider, origins },
    drvPath: fakeStorePath(`${closure}.drv`),
    outPath: fakeStorePath(closure),
  })
}
