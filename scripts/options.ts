import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { generatedDocuments, withOptionTables } from './options/document.js'
import { hydraOptionsFile, machineModule } from './options/machine-module.js'
import { providerModules } from './options/provider-modules.js'

/**
 * The generator of the tables in docs/options.md and docs/providers/, of the options.nix of each provider, of
 * nix/options.nix and of nix/hydra-options.nix, by the schemas of options. `npx tsx scripts/options.ts`
 */

const at = (path: string) => fileURLToPath(new URL(`../${path}`, import.meta.url))
for (const path of generatedDocuments)
  writeFileSync(at(path), withOptionTables(path, readFileSync(at(path), 'utf8')))
for (const [path, text] of Object.entries(providerModules())) writeFileSync(at(path), text)
writeFileSync(at('nix/options.nix'), machineModule())
writeFileSync(at('nix/hydra-options.nix'), hydraOptionsFile())
