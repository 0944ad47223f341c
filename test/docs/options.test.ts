import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import * as z from 'zod'
import { LibvirtConfig } from '../../providers/libvirt/config.js'
import { VirtualBoxConfig } from '../../providers/virtualbox/config.js'
import { DebianOptions } from '../../src/core/debian-options.js'
import { HealthChecks } from '../../src/core/health-checks.js'
import { KeyDefinition } from '../../src/core/key-definition.js'
import { NixTaskOptions } from '../../src/core/nix-options.js'
import { packageRoot } from '../../src/core/package-root.js'

const read = (path: string) => readFileSync(join(packageRoot(), path), 'utf8')
const list = 'docs/options.md'

/** Returns the part of a document below a heading, up to the next heading. */
function section(path: string, heading: string): string {
  const document = read(path)
  const from = document.indexOf(`\n${heading}`)
  expect(from, heading).toBeGreaterThan(0)
  const next = document.slice(from + 1).search(/\n#{2,3} /)
  return next < 0 ? document.slice(from) : document.slice(from, from + 1 + next)
}

/** Returns the names in the first cell of each table row, up to their first dot. */
function rowNames(text: string): string[] {
  const cells = text.split('\n').flatMap((line) => /^\| (.*?) \|/.exec(line)?.[1] ?? [])
  return cells.flatMap((cell) => [...cell.matchAll(/`\.?([A-Za-z0-9]+)/g)].flatMap(([, name]) => name ?? []))
}

const checkOptions = Object.values(HealthChecks.shape).flatMap((list) =>
  propertyNames(z.toJSONSchema(list, { io: 'input' })),
)

function propertyNames(schema: unknown): string[] {
  const Items = z.looseObject({ items: z.looseObject({ properties: z.record(z.string(), z.unknown()) }) })
  return Object.keys(Items.parse(schema).items.properties)
}

it.each([
  ['docs/providers/libvirt.md', '## Options', Object.keys(LibvirtConfig.shape)],
  ['docs/providers/virtualbox.md', '## Options', Object.keys(VirtualBoxConfig.shape)],
  [list, '### `deployment.keys.<name>`', Object.keys(KeyDefinition.shape)],
  [list, '### `deployment.nix`', Object.keys(NixTaskOptions.shape)],
  [list, '### `deployment.healthChecks`', checkOptions],
])('the document %s lists for %s each existing option, and no other', (path, heading, options) => {
  expect([...new Set(rowNames(section(path, heading)))].sort()).toEqual([...new Set(options)].sort())
})

it('the document has each option of deployment, in a row or with a section of its own', () => {
  const document = read(list)
  const named = [
    ...rowNames(document),
    ...[...document.matchAll(/^###? .*`deployment\.(\w+)/gm)].map(([, name]) => name),
  ]
  const all = [...Object.keys(DebianOptions.shape), 'os']
  expect(all.filter((name) => !named.includes(name) && !document.includes(`\`deployment.${name}\``))).toEqual(
    [],
  )
})
