import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import * as z from 'zod'
import { LibvirtConfig } from '../../providers/libvirt/config.js'
import { DebianOptions } from '../../src/core/debian-options.js'
import { HealthChecks } from '../../src/core/health-checks.js'
import { KeyDefinition } from '../../src/core/key-definition.js'
import { NixTaskOptions } from '../../src/core/nix-options.js'
import { packageRoot } from '../../src/core/package-root.js'

const document = readFileSync(join(packageRoot(), 'docs', 'options.md'), 'utf8')

/** Returns the part of the document below a heading, up to the next one. */
function section(heading: string): string {
  const from = document.indexOf(`\n${heading}`)
  expect(from, heading).toBeGreaterThan(0)
  const next = document.slice(from + 1).search(/\n#{2,3} /)
  return next < 0 ? document.slice(from) : document.slice(from, from + 1 + next)
}

/** Returns the code names at the beginning of a row, alone or with others, and their first parts. */
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
  ['## Provider libvirt', Object.keys(LibvirtConfig.shape)],
  ['### `deployment.keys.<name>`', Object.keys(KeyDefinition.shape)],
  ['### `deployment.nix`', Object.keys(NixTaskOptions.shape)],
  ['### `deployment.healthChecks`', checkOptions],
])('the document lists for %s each existing option, and no other', (heading, options) => {
  expect([...new Set(rowNames(section(heading)))].sort()).toEqual([...new Set(options)].sort())
})

it('the document has each option of deployment, in a row or with a section of its own', () => {
  const named = [
    ...rowNames(document),
    ...[...document.matchAll(/^###? .*`deployment\.(\w+)/gm)].map(([, name]) => name),
  ]
  const all = [...Object.keys(DebianOptions.shape), 'os']
  expect(all.filter((name) => !named.includes(name) && !document.includes(`\`deployment.${name}\``))).toEqual(
    [],
  )
})
