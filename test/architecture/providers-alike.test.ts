import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { builtInProviders } from './built-in-providers.js'
import { top } from './source-files.js'

const providers = await builtInProviders()
const folders = readdirSync(join(top, 'providers'), { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && !['common', 'plugins'].includes(entry.name))
  .map(({ name }) => name)

const interfaceText = readFileSync(join(top, 'src', 'core', 'provider.ts'), 'utf8')

/** Lists the members of `Provider` in the order of the interface. */
function interfaceMembers(): string[] {
  const body = interfaceText.split(/export interface Provider</)[1] ?? ''
  return [...body.matchAll(/^ {2}(?:readonly )?(\w+)\??[:(]/gm)].map(([, name = '']) => name)
}

/** Lists the members of the object that a factory returns, in the order of its file. */
function membersOf(text: string): string[] {
  const body = /^ {2}return \{\n([\s\S]*?)^ {2}\}$/m.exec(text)?.[1] ?? ''
  return [...body.matchAll(/^ {4}(?:async )?(\w+)(?:[,:(])/gm)].map(([, name = '']) => name)
}

const indexOf = (folder: string) => readFileSync(join(top, 'providers', folder, 'index.ts'), 'utf8')

describe('the providers read alike:', () => {
  it('each folder is a provider of its own name', () => {
    expect(folders.sort()).toEqual(providers.map(({ name }) => name).sort())
  })

  it.each(folders)('%s has its members in the order of the interface', (folder) => {
    const order = interfaceMembers()
    const members = membersOf(indexOf(folder))
    expect(members).toContain('reconcile')
    expect(members).toEqual(order.filter((name) => members.includes(name)))
  })

  it.each(folders)('%s has its options, its look and its power in files of the same names', (folder) => {
    const files = readdirSync(join(top, 'providers', folder))
    expect(files).toEqual(
      expect.arrayContaining(['config.ts', 'doctor.ts', 'index.ts', 'look.ts', 'options.nix', 'power.ts']),
    )
  })

  it('two providers that make machines have the same files for the same work', () => {
    const [libvirt, virtualbox] = ['libvirt', 'virtualbox'].map((each) =>
      readdirSync(join(top, 'providers', each)),
    )
    const shared = libvirt?.filter((name) => virtualbox?.includes(name))
    expect(shared).toEqual(
      expect.arrayContaining(
        [
          'allocation',
          'changes',
          'destroy',
          'disks',
          'guest',
          'moved',
          'names',
          'owned',
          'places',
          'provision',
        ]
          .concat('network', 'boot-files', 'wanted')
          .map((name) => `${name}.ts`),
      ),
    )
  })
})

it('a member in another place is found', () => {
  const text = 'return {\n    name: 1,\n    stop: 2,\n    start: 3,\n  }\n'.replace('return', '  return')
  expect(membersOf(text)).toEqual(['name', 'stop', 'start'])
  expect(interfaceMembers().filter((name) => membersOf(text).includes(name))).toEqual([
    'name',
    'start',
    'stop',
  ])
})
