// @ts-check
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { contractRun, newMachine, providerContract } from 'hydra-ops/provider-contract'
import { createFolderProvider } from './index.js'

providerContract('the provider of folders', {
  makesMachines: true,
  open: async () => {
    const park = mkdtempSync(join(tmpdir(), 'folders-'))
    const provider = createFolderProvider({ park })
    const config = provider.configSchema.parse({})
    return {
      provider,
      run: contractRun,
      configExamples: [{}, { memo: 'the machine under the desk' }],
      makeResource: (overrides) => newMachine({ provider, folder: park, config }, overrides),
      changedConfig: { memo: 'another memo' },
      listing: async () => readdirSync(park).sort(),
      createForeign: async ({ name }) => {
        mkdirSync(join(park, name))
        return { isUntouched: async () => readdirSync(join(park, name)).length === 0 }
      },
      cleanup: async () => rmSync(park, { recursive: true }),
    }
  },
})
