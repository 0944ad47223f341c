import { importsOf, type SourceFile } from './source-files.js'

/** Directories of the code that works with machines. */
const machineRooms = [
  'src/remote',
  'src/machine',
  'src/network',
  'src/keys',
  'src/tasks',
  'src/systems',
] as const

/** Parts that each part may import besides itself (design: dependencies point one way). */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  'src/core': [],
  'src/exec': ['src/core'],
  'src/ssh': ['src/core'],
  'src/images': ['src/core'],
  'src/doctor': ['src/core'],
  'src/ui': ['src/core'],
  'src/remote': ['src/core'],
  'src/hydra': ['src/core'],
  'src/setup': ['src/core', 'src/remote', 'src/hydra'],
  'src/machine': ['src/core', 'src/remote'],
  'src/network': ['src/core', 'src/machine'],
  'src/keys': ['src/core', 'src/remote', 'src/machine'],
  'src/tasks': ['src/core', 'src/remote', 'src/machine'],
  'src/systems': ['src/core', 'src/remote', 'src/machine'],
  'src/deploy': ['src/core', 'src/hydra', ...machineRooms],
  'src/operations': ['src/core', 'src/hydra', ...machineRooms, 'src/deploy'],
  'src/commands': [
    'src/core',
    'src/hydra',
    'src/machine',
    'src/network',
    'src/deploy',
    'src/operations',
    'src/ui',
    'src/context.ts',
  ],
  nix: ['src/core'],
  state: ['src/core'],
  // This file may import every concrete part.
  'src/context.ts': ['src', 'nix', 'state', 'providers'],
  'src/cli.ts': ['src/core', 'src/commands', 'src/ui', 'src/context.ts'],
}

/** Packages that only the listed parts may import. These parts wrap the packages for all other parts. */
const onlyImporters: Readonly<Record<string, readonly string[]>> = {
  execa: ['src/exec'],
  ssh2: ['src/ssh'],
  conf: ['state'],
  listr2: ['src/ui'],
  picocolors: ['src/ui'],
  '@inquirer/prompts': ['src/ui'],
  commander: ['src/commands', 'src/cli.ts'],
  'fast-xml-parser': ['providers/libvirt', 'providers/common/xml.ts'],
}

/** Returns sentences about imports that break a rule. */
export function brokenImports(files: readonly SourceFile[]): string[] {
  return files.flatMap((file) => {
    const part = partOf(file.path)
    return importsOf(file).flatMap((imported) => {
      const why = isOurs(imported)
        ? (refuseInside(part, imported) ?? refusePart(part, partOf(imported)))
        : refusePackage(file.path, imported)
      return why === undefined ? [] : [`${file.path} imports ${imported}: ${why}`]
    })
  })
}

/** Refuses an import of a system's internals, because callers must use the interface that all systems share. */
function refuseInside(from: string, imported: string): string | undefined {
  if (!/^src\/systems\/(?:debian|nixos)\//.test(imported) || within(from, 'src/systems')) return undefined
  return 'a system is reached by src/systems/system.ts alone'
}

function refusePart(from: string, to: string): string | undefined {
  if (from === to) return undefined
  const allowed = mayImport[from] ?? providerMayImport(from)
  if (allowed === undefined)
    return `'${from}' is in no layer: give it its place in test/architecture/layers.ts`
  return allowed.some((part) => within(to, part)) ? undefined : `'${from}' may not import '${to}'`
}

/** Returns the parts that a part of `providers` may import besides itself. */
function providerMayImport(part: string): readonly string[] | undefined {
  if (part === 'providers/registry.ts') return ['src/core', 'providers']
  if (part === 'providers/common') return ['src/core']
  return part.startsWith('providers/') ? ['src/core', 'providers/common'] : undefined
}

function refusePackage(path: string, name: string): string | undefined {
  const importers = onlyImporters[name]
  if (importers === undefined || importers.some((part) => within(path, part))) return undefined
  return `only ${importers.join(', ')} may`
}

function isOurs(imported: string): boolean {
  return /^(src|nix|state|providers|test)\//.test(imported)
}

/**
 * Returns the part of a path, such as `src/core`, `nix` or `providers/libvirt`. A file such as `src/cli.ts`
 * is a part by itself.
 */
function partOf(path: string): string {
  const [first = '', second = ''] = path.split('/')
  const name = second.replace(/\.js$/, '.ts')
  return first === 'src' || first === 'providers' ? `${first}/${name}` : first
}

function within(path: string, part: string): boolean {
  return path === part || path.startsWith(`${part}/`)
}
