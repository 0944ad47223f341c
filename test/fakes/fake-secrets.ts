import { rmSync } from 'node:fs'
import { join } from 'node:path'
import type { DeploymentSecrets, SecretStore } from '../../src/core/secrets.js'

export interface FakeSecrets extends SecretStore {
  /** Every secret that is kept, by deployment and name. */
  readonly kept: Map<string, string>
}

/** Keeps secrets in memory, as a server would; only key pairs are files, in a separate folder. */
export function createFakeSecrets(keyFiles: string): FakeSecrets {
  const kept = new Map<string, string>()
  return {
    kept,
    of(uuid): DeploymentSecrets {
      const key = (machine: string, name: string) => `${uuid} ${machine} ${name}`
      return {
        place: `the made-up server, at ${uuid}`,
        readGenerated: async (machine, name) => kept.get(key(machine, name)),
        keepGenerated: async (machine, name, secret) => {
          kept.set(key(machine, name), secret)
        },
        forgetGenerated: async (machine, name) => {
          kept.delete(key(machine, name))
        },
        generatedOf: async (machine) =>
          [...kept.keys()]
            .filter((each) => each.startsWith(key(machine, '')))
            .map((each) => ({
              name: each.slice(key(machine, '').length),
              forget: async () => {
                kept.delete(each)
              },
            })),
        readHashKey: async () => {
          const found = kept.get(`${uuid} hash`)
          return found === undefined ? undefined : Buffer.from(found, 'hex')
        },
        keepHashKey: async (bytes) => {
          kept.set(`${uuid} hash`, Buffer.from(bytes).toString('hex'))
        },
        loginKeyFile: join(keyFiles, uuid),
        builderKeyFile: join(keyFiles, `${uuid}-builders`),
        forgetBuilderKey: async () => {
          for (const end of ['', '.pub']) rmSync(join(keyFiles, `${uuid}-builders${end}`), { force: true })
        },
        hostKeyFile: (machine) => join(keyFiles, `${uuid}-${machine}`),
        forgetHostKey: async () => {},
      }
    },
  }
}
