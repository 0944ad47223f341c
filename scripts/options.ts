import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { generatedDocuments, withOptionTables } from './options/document.js'
import { hydraOptionsFile, machineModule } from './options/machine-module.js'
import { providerModules } from './options/provider-modules.js'

/**
 * Generates the option tables in docs/options.md and docs/providers/ from the schemas of options. Also writes each
 * provider's options.nix, nix/options.nix and nix/hydra-options.nix. Run it with `npx tsx scripts/options.ts`.
 */

const at = (path: string) => fileURLToPath(new URL(`../${path}`, import.meta.url))
for (const path of generatedDocuments)
  writeFileSync(at(path), withOptionTables(path, readFileSync(at(path), 'utf8')))
for (const [path, text] of Object.entries(providerModules())) writeFileSync(at(path), text)
writeFileSync(at('nix/options.nix'), machineModule())
writeFileSync(at('nix/hydra-options.nix'), hydraOptionsFile())
