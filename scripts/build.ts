import { readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { placeBuild } from './place-build.js'

/**
 * Second half of `npm run build`: bundles the sources into a few files in dist/, each loaded at first use. A start
 * from a few hundred small files, and from all of zod, takes twice as long.
 */

const top = join(dirname(fileURLToPath(import.meta.url)), '..')
const dist = join(top, 'dist')

/**
 * Packages that are bundled, because hydra-ops uses only a small part of them. All other packages are loaded from
 * node_modules.
 */
const inlined = ['zod']

const { dependencies }: { dependencies: Record<string, string> } = JSON.parse(
  readFileSync(join(top, 'package.json'), 'utf8'),
)

const { outputFiles, metafile } = await build({
  absWorkingDir: top,
  entryPoints: {
    'src/cli': 'src/cli.ts',
    'src/core/provider': 'src/core/provider.ts',
    // Authors of providers run these tests with their own vitest.
    'provider-contract': 'test/contract/provider-contract.ts',
  },
  outdir: 'dist',
  chunkNames: 'chunks/[name]-[hash]',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20.11',
  external: [...Object.keys(dependencies).filter((name) => !inlined.includes(name)), 'vitest'],
  // Only the stack traces of --debug use the source map.
  sourcemap: true,
  sourcesContent: false,
  metafile: true,
  // Each start then has less to parse. Names stay unchanged for stack traces.
  minifyWhitespace: true,
  minifySyntax: true,
  write: false,
  logLevel: 'warning',
})

const files = new Map(outputFiles.map(({ path, contents }) => [relative(dist, path), contents]))
files.set('THIRD-PARTY.txt', Buffer.from(licences(Object.keys(metafile.inputs))))
placeBuild(dist, files)

/** Collects the licence texts of bundled packages, which their licences require. */
function licences(inputs: readonly string[]): string {
  const names = inputs.flatMap((path) => /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1] ?? [])
  const texts = [...new Set(names)].map((name) => {
    const folder = join(top, 'node_modules', name)
    const { version }: { version: string } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
    return `${name} ${version}\n\n${readFileSync(join(folder, 'LICENSE'), 'utf8').trim()}\n`
  })
  return `The files in chunks/ contain code of these packages.\n\n${texts.join('\n\n')}`
}
