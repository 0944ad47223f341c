import { readdirSync, readFileSync } from 'node:fs'
import { builtinModules } from 'node:module'
import { extname, join } from 'node:path'
import { expect, it } from 'vitest'
import { z } from 'zod'
import { knownPrograms } from '../../src/core/programs.js'
import { oldestNode } from '../../src/doctor/node-version.js'
import { importsOf, otherFolders, shippedFolders, sourceFiles, top } from './source-files.js'

const read = (file: string) => readFileSync(join(top, file), 'utf8')

const manifest = z
  .object({
    engines: z.object({ node: z.string() }),
    files: z.array(z.string()),
    scripts: z.record(z.string(), z.string()),
    dependencies: z.record(z.string(), z.string()),
    devDependencies: z.record(z.string(), z.string()),
  })
  .parse(JSON.parse(read('package.json')))

const builtin = new Set(builtinModules)
const packagesIn = (folders: readonly string[]) =>
  new Set(
    sourceFiles(folders, ['.ts', '.mjs'])
      .flatMap(importsOf)
      .filter((name) => !name.includes('/') || name.startsWith('@'))
      .filter((name) => !name.startsWith('node:') && !builtin.has(name)),
  )

it('every dependency is imported by shipped code', () => {
  const imported = packagesIn(shippedFolders)
  expect(Object.keys(manifest.dependencies).filter((name) => !imported.has(name))).toEqual([])
})

it('shipped code imports only dependencies', () => {
  const imported = [...packagesIn(shippedFolders)]
  expect(imported.filter((name) => !(name in manifest.dependencies))).toEqual([])
})

it('every development dependency is used by tests, scripts, or the compiler', () => {
  const imported = packagesIn(otherFolders)
  const types = Object.keys(manifest.dependencies).map((name) => `@types/${name}`)
  const scripts =
    Object.values(manifest.scripts).join(' ') + sourceFiles(['scripts', '.ci'], ['']).map((f) => f.text)
  // The key is a package, and the value is the program that a script calls, if its name differs.
  const programs: Record<string, string> = { '@biomejs/biome': 'biome', typescript: 'tsc' }
  const unused = Object.keys(manifest.devDependencies).filter(
    (name) =>
      !imported.has(name) &&
      !scripts.includes(programs[name] ?? name) &&
      !types.includes(name) &&
      name !== '@types/node',
  )
  expect(unused).toEqual([])
})

it('the package has every kind of file that runs on a machine', () => {
  const names = readdirSync(join(top, 'target'), { recursive: true, encoding: 'utf8' })
  const kinds = new Set(names.map((name) => extname(name)).filter((kind) => kind !== ''))
  expect(manifest.files).toEqual(expect.arrayContaining([...kinds].map((kind) => `target/**/*${kind}`)))
})

it('the oldest Node is the same in package.json and in doctor', () => {
  expect(manifest.engines.node).toBe(`>=${oldestNode.join('.')}`)
})

it('the packages that scripts install are the packages that errors and doctor name', () => {
  const rows = read('scripts/packages')
    .split('\n')
    .filter((line) => !line.startsWith('#') && line.trim() !== '')
    .map((line) => line.trim().split(/\s+/))
  const installed = rows.filter(([group]) => group === 'run').map(([, name = '']) => name)
  // These packages have no program. Debian has no certificates for downloads without `ca-certificates`.
  const silent = ['ca-certificates', 'libvirt-daemon-driver-qemu']
  const named = new Set(knownPrograms.map((known) => known.package))
  expect(installed.filter((name) => !silent.includes(name)).sort()).toEqual([...named].sort())
})
