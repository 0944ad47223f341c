import { createRegistry } from '../../providers/registry.js'
import type { AnyProvider } from '../../src/core/bind-provider.js'
import type { LocalCommands } from '../../src/core/context.js'
import { createFakeSsh } from '../fakes/fake-ssh.js'

const noProgram = (): never => {
  throw new Error('no program is run')
}

const local: LocalCommands = {
  run: async () => noProgram(),
  interactive: async () => noProgram(),
  spawnDuplex: noProgram,
  spawnReadable: noProgram,
}

/** Returns the providers that come with the package. */
export async function builtInProviders(): Promise<readonly AnyProvider[]> {
  return (await createRegistry({ local, ssh: createFakeSsh() })).all()
}
