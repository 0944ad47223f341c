import { describe, expect, it } from 'vitest'
import { brokenImports } from './layers.js'
import { shippedFolders, sourceFiles } from './source-files.js'

const file = (path: string, ...specifiers: string[]) => ({
  path,
  text: specifiers.map((specifier) => `import { x } from '${specifier}'`).join('\n'),
})

it('dependencies point one way, and each wrapped package has one importer', () => {
  const files = sourceFiles(shippedFolders, ['.ts'])
  expect(files.length).toBeGreaterThan(30)
  expect(brokenImports(files)).toEqual([])
})

describe('the rule of layers', () => {
  it.each([
    ['src/core/a.ts', '../ssh/b.js', "'src/core' may not import 'src/ssh'"],
    ['src/operations/a.ts', '../ui/b.js', "'src/operations' may not import 'src/ui'"],
    ['src/deploy/a.ts', '../../state/b.js', "'src/deploy' may not import 'state'"],
    ['src/machine/a.ts', '../deploy/b.js', "'src/machine' may not import 'src/deploy'"],
    ['src/deploy/a.ts', '../systems/debian/b.js', 'a system is reached by src/systems/system.ts alone'],
    ['src/setup/a.ts', '../tasks/b.js', "'src/setup' may not import 'src/tasks'"],
    ['providers/common/a.ts', '../libvirt/b.js', "'providers/common' may not import 'providers/libvirt'"],
    ['src/operations/a.ts', '../context.js', "'src/operations' may not import 'src/context.ts'"],
    ['src/commands/a.ts', '../../providers/ssh/b.js', "'src/commands' may not import 'providers/ssh'"],
    ['providers/ssh/a.ts', '../libvirt/b.js', "'providers/ssh' may not import 'providers/libvirt'"],
    ['state/a.ts', '../nix/b.js', "'state' may not import 'nix'"],
    ['src/core/a.ts', 'execa', 'only src/exec may'],
    ['src/ssh/a.ts', 'listr2', 'only src/ui may'],
    ['src/setup/a.ts', 'ssh2', 'only src/ssh may'],
  ])('%s may not import %s', (path, specifier, why) => {
    expect(brokenImports([file(path, specifier)])).toEqual([expect.stringContaining(why)])
  })

  it.each([
    ['src/systems/debian/a.ts', '../../core/b.js'],
    ['providers/libvirt/a.ts', '../common/b.js'],
    ['src/commands/a.ts', '../operations/b.js'],
    ['src/context.ts', '../providers/registry.js'],
    ['providers/registry.ts', './libvirt/index.js'],
    ['src/exec/a.ts', 'execa'],
    ['src/core/a.ts', 'zod'],
  ])('%s may import %s', (path, specifier) => {
    expect(brokenImports([file(path, specifier)])).toEqual([])
  })

  it('sees lazy and type-only imports too', () => {
    const text = "const x = await import('../ui/b.js')\nimport type { Y } from '../../state/c.js'"
    expect(brokenImports([{ path: 'src/operations/a.ts', text }])).toHaveLength(2)
  })

  it('requires a place for each new folder', () => {
    expect(brokenImports([file('src/new/a.ts', '../core/b.js')])).toEqual([
      expect.stringContaining("'src/new' is in no layer"),
    ])
  })
})
