import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'

export interface SourceFile {
  /** Path relative to the root of the checkout. */
  readonly path: string
  readonly text: string
}

export const top = join(dirname(fileURLToPath(import.meta.url)), '../..')

/** Directories with hydra-ops's own code: first the shipped code, then all other code. */
export const shippedFolders = ['src', 'providers', 'nix', 'state', 'target']
export const otherFolders = ['test', 'bench', 'scripts']

export function sourceFiles(folders: readonly string[], extensions: readonly string[]): SourceFile[] {
  return folders
    .flatMap((folder) => namesBelow(folder))
    .filter((path) => extensions.some((extension) => path.endsWith(extension)))
    .map((path) => ({ path, text: readFileSync(join(top, path), 'utf8') }))
}

function namesBelow(folder: string): string[] {
  const entries = (() => {
    try {
      return readdirSync(join(top, folder), { withFileTypes: true })
    } catch {
      return []
    }
  })()
  return entries.flatMap((entry) => {
    const path = join(folder, entry.name)
    return entry.isDirectory() ? namesBelow(path) : [path]
  })
}

/**
 * Returns a module's imports: root-relative paths for hydra-ops's files, and names for packages and `node:`
 * modules.
 */
export function importsOf(file: SourceFile): string[] {
  const statements = /^\s*(?:import|export)\s(?:[^'"`;]*?\sfrom\s)?\s*'([^'\n]+)'|\bimport\(\s*'([^'\n]+)'/gm
  const specifiers = [...file.text.matchAll(statements)].map(([, fixed, lazy]) => fixed ?? lazy ?? '')
  return specifiers.map((specifier) =>
    specifier.startsWith('.') ? normalize(join(dirname(file.path), specifier)) : packageName(specifier),
  )
}

function packageName(specifier: string): string {
  if (specifier.startsWith('node:')) return specifier
  const [scope = '', name = ''] = specifier.split('/')
  return scope.startsWith('@') ? `${scope}/${name}` : scope
}
