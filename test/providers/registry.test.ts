import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
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

function registry(plugins: readonly string[] = []) {
  return createRegistry({ local, ssh: createFakeSsh(), plugins })
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

describe('a provider plugin', () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'hydra-ops-plugin-'))
  })
  afterEach(() => rmSync(folder, { recursive: true }))

  function plugin(name: string, text: string): string {
    const file = join(folder, name)
    writeFileSync(file, text)
    return pathToFileURL(file).href
  }

  const schema = '{ safeParse: (data) => ({ success: true, data }) }'
  const whole = (name: string, targetEnvs: string) => `export default {
    name: '${name}', targetEnvs: ${targetEnvs}, optionsNix: '/x.nix', makesMachines: false,
    configSchema: ${schema}, allocationSchema: ${schema}, handleSchema: ${schema},
    ${[
      'imageReference',
      'imageId',
      'allocate',
      'ports',
      'physical',
      'publishedUrls',
      'inspect',
      'plan',
      'reconcile',
      'start',
      'stop',
      'destroy',
      'target',
    ]
      .map((method) => `${method}() {}`)
      .join(', ')}, resourceId: ({ machine }) => 'id of ' + machine,
  }`

  it('behaves like a provider of ours', async () => {
    const { named } = await registry([plugin('good.mjs', whole('cloud', "['cloud']"))])
    expect(named('cloud').targetEnvs).toEqual(['cloud'])
  })

  it.each([
    ['nothing', 'export const x = 1', 'is not a provider'],
    ['no name', 'export default {}', "has no 'name'"],
    ['no words', whole('cloud', '[]'), "has no 'targetEnvs'"],
    [
      'no schema',
      whole('cloud', "['cloud']").replace('handleSchema', 'handelSchema'),
      "has no 'handleSchema'",
    ],
    ['no method', whole('cloud', "['cloud']").replace('destroy()', 'destory()'), "has no method 'destroy'"],
  ])('is refused with the name of the missing part: %s', async (_, text, lack) => {
    await expect(registry([plugin('bad.mjs', text)])).rejects.toMatchObject({
      exitCode: 2,
      message: expect.stringMatching(new RegExp(`bad\\.mjs'.*${lack}`)),
    })
  })

  it('is named when it cannot be loaded', async () => {
    await expect(registry(['hydra-ops-provider-that-nobody-wrote'])).rejects.toMatchObject({
      exitCode: 2,
      message: expect.stringContaining('hydra-ops-provider-that-nobody-wrote'),
    })
    await expect(registry([plugin('broken.mjs', 'export default {')])).rejects.toMatchObject({ exitCode: 2 })
  })

  it('may not take the name of another plugin', async () => {
    await expect(registry([plugin('double.mjs', whole('cloud', "['libvirtd']"))])).rejects.toMatchObject({
      message: "providers 'libvirt' and 'cloud' both use the name 'libvirtd'",
    })
  })
})
