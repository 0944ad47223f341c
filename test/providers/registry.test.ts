import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { createRegistry } from '../../providers/registry.js'
import type { LocalCommands } from '../../src/core/context.js'
import { packageRoot } from '../../src/core/package-root.js'
import { createFakeSsh } from '../fakes/fake-ssh.js'

const local: LocalCommands = {
  run: () => Promise.reject(new Error('no program is run')),
  interactive: () => Promise.reject(new Error('no program is run')),
  spawnDuplex: () => {
    throw new Error('no program is run')
  },
  spawnReadable: () => {
    throw new Error('no program is run')
  },
}

function registry() {
  return createRegistry({ local, ssh: createFakeSsh() })
}

describe('the registry', () => {
  it('knows libvirt, VirtualBox and ssh, by their own names and by their names in an expression', async () => {
    const { all, named } = await registry()
    expect(all().map(({ name, targetEnvs }) => [name, targetEnvs])).toEqual([
      ['libvirt', ['libvirtd', 'libvirt']],
      ['virtualbox', ['virtualbox']],
      ['ssh', ['none', 'ssh']],
    ])
    expect(named('libvirt').makesMachines).toBe(true)
  })

  it('suggests the name for a misspelt provider', async () => {
    const { named } = await registry()
    expect(() => named('libvrit')).toThrowError(expect.objectContaining({ hint: "did you mean 'libvirt'?" }))
  })
})

/** Returns all modules that an import loads at once, without lazy imports. */
function eagerImports(file: string, seen = new Set<string>()): Set<string> {
  const text = readFileSync(file, 'utf8')
  for (const [, name = ''] of text.matchAll(/^(?:import|export) (?!type)[^;]*?from '([^']+)'/gm)) {
    if (seen.has(name)) continue
    if (!name.startsWith('.')) seen.add(name)
    else {
      const next = join(dirname(file), name.replace(/\.js$/, '.ts'))
      if (!seen.has(next)) eagerImports(next, seen.add(next))
    }
  }
  return seen
}

it('the code for libvirt is loaded when the first machine of it is worked on, not before', () => {
  const eager = eagerImports(join(packageRoot(), 'providers', 'libvirt', 'index.ts'))
  expect([...eager]).toContain('zod')
  expect([...eager].filter((name) => /fast-xml-parser|provision|domain-xml/.test(name))).toEqual([])
})
