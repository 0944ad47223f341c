import { existsSync, readFileSync, realpathSync } from 'node:fs'
import { dirname, isAbsolute, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import * as z from 'zod'
import { type AnyProvider, bindProvider } from '../../src/core/bind-provider.js'
import { messageOf, type OpsError, usageError } from '../../src/core/errors.js'
import type { Json } from '../../src/core/json.js'
import { packageRoot } from '../../src/core/package-root.js'
import { type Provider, providerInterface } from '../../src/core/provider.js'
import { linkedFolders } from './folders.js'
import { partLackingIn } from './shape.js'

/** The parts of a plugin's package.json that show what hydra-ops loads. */
const Manifest = z.object({
  hydraOps: z.object({ providerInterface: z.number() }).optional(),
  exports: z.unknown().optional(),
  main: z.string().optional(),
})
type Manifest = z.infer<typeof Manifest>

/** Facts about the running program that the loader of plugins needs. */
export interface PluginOptions {
  /** The path by which the user started the program. If the path is a link, plugins may lie beside the link. */
  readonly startedAs?: string | undefined
  /** Names of options that every machine has; no plugin may use one of these names as its key. */
  readonly commonOptions: readonly string[]
}

/** Loads the provider of an npm package; `plugin` is its name, or the absolute path of its folder. */
export async function loadPlugin(plugin: string, options: PluginOptions): Promise<AnyProvider> {
  const folder = folderOf(plugin, options.startedAs)
  const manifest = readManifest(plugin, folder)
  refuseOtherInterface(plugin, manifest)
  const entry = join(folder, entryOf(manifest))
  const provider = await defaultExport(plugin, entry)
  const lack = partLackingIn(provider, options.commonOptions)
  if (lack !== undefined) throw unusable(plugin, `its default export ${lack}`)
  return bindProvider(provider as Provider<Json, Json, Json>)
}

function unusable(plugin: string, why: string, facts: { hint?: string; cause?: unknown } = {}): OpsError {
  const hint = `hydra-ops config get plugins shows the setting; docs/providers/writing.md describes a provider`
  return usageError(`provider plugin '${plugin}': ${why}`, { hint, ...facts })
}

/** Finds a package beside hydra-ops, as Node does, and beside the link by which the program was started. */
function folderOf(plugin: string, startedAs: string | undefined): string {
  if (isAbsolute(plugin)) return plugin
  if (!/^(?:@[\w.-]+\/)?[\w-][\w.-]*$/.test(plugin))
    throw unusable(plugin, 'this is neither the name of an npm package nor an absolute path')
  const starts = [packageRoot(), ...(startedAs === undefined ? [] : linkedFolders(startedAs))]
  const folders = [...new Set(starts.flatMap(nodeModulesAbove))]
  const found = folders.map((folder) => join(folder, plugin)).find((folder) => existsSync(folder))
  if (found !== undefined) return found
  throw unusable(plugin, `there is no such package in ${folders.filter(existsSync).join(', ')}`, {
    hint: `npm install puts the package beside hydra-ops, with the same --prefix; hydra-ops config unset plugins removes the setting`,
  })
}

function nodeModulesAbove(folder: string): string[] {
  const above = dirname(folder)
  return [join(folder, 'node_modules'), ...(above === folder ? [] : nodeModulesAbove(above))]
}

function readManifest(plugin: string, folder: string): Manifest {
  const file = join(folder, 'package.json')
  if (!existsSync(file)) throw unusable(plugin, `there is no ${file}`)
  try {
    return Manifest.parse(JSON.parse(readFileSync(file, 'utf8')))
  } catch (error) {
    throw unusable(plugin, `${file} cannot be used: ${firstSentence(error)}`, { cause: error })
  }
}

function firstSentence(error: unknown): string {
  const issue = error instanceof z.ZodError ? error.issues[0] : undefined
  return issue === undefined ? messageOf(error) : `${issue.path.join('.')}: ${issue.message}`
}

/** Refuses a plugin before its code runs, because code for another interface may fail in any way. */
function refuseOtherInterface(plugin: string, { hydraOps }: Manifest): void {
  if (hydraOps === undefined)
    throw unusable(plugin, 'its package.json does not name its provider interface', {
      hint: `ask the author to add "hydraOps": { "providerInterface": ${providerInterface} } to the package.json`,
    })
  const { providerInterface: wanted } = hydraOps
  if (wanted === providerInterface) return
  throw unusable(
    plugin,
    `it needs provider interface ${wanted}, and this hydra-ops has ${providerInterface}`,
    {
      hint:
        wanted > providerInterface
          ? 'install a newer hydra-ops, or an older version of the plugin'
          : 'install a newer version of the plugin',
    },
  )
}

/** Returns the file that `import` of the package loads. */
function entryOf({ exports, main }: Manifest): string {
  return importTarget(exports) ?? main ?? 'index.js'
}

function importTarget(exports: unknown): string | undefined {
  if (typeof exports === 'string') return exports
  if (typeof exports !== 'object' || exports === null) return undefined
  return ['.', 'node', 'import', 'default']
    .filter((condition) => condition in exports)
    .map((condition) => importTarget(Reflect.get(exports, condition)))
    .find((target) => target !== undefined)
}

async function defaultExport(plugin: string, entry: string): Promise<unknown> {
  if (!existsSync(entry))
    throw unusable(plugin, `its package.json names a file that does not exist: ${entry}`)
  try {
    const module: { readonly default?: unknown } = await import(pathToFileURL(realpathSync(entry)).href)
    return module.default
  } catch (error) {
    throw unusable(plugin, `its code cannot be loaded: ${messageOf(error)}`, {
      cause: error,
      ...(/Cannot find package 'hydra-ops'/.test(messageOf(error)) ? { hint: besideHint(entry) } : {}),
    })
  }
}

function besideHint(entry: string): string {
  return `the plugin is in ${resolve(dirname(entry))}, and hydra-ops must be installed beside it; npm install --install-links copies a folder instead of linking it`
}
