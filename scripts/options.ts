import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { withOptionTables } from './options/document.js'
import { providerModules } from './options/provider-modules.js'

/**
 * The generator of the tables of docs/options.md and of the options.nix of each provider, by the schemas of options.
 * `npx tsx scripts/options.ts`
 */

const at = (path: string) => fileURLToPath(new URL(`../${path}`, import.meta.url))
const document = at('docs/options.md')
writeFileSync(document, withOptionTables(readFileSync(document, 'utf8')))
for (const [path, text] of Object.entries(providerModules())) writeFileSync(at(path), text)
