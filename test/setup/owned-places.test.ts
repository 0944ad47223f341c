import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { z } from 'zod'
import { ClosureOptions } from '../../src/core/closure-options.js'
import { DebianOptions } from '../../src/core/debian-options.js'
import type { MachineDefinition } from '../../src/core/definition.js'
import { placeProblems } from '../../src/core/owned-places.js'
import { packageRoot } from '../../src/core/package-root.js'
import { setupTasks } from '../../src/setup/tasks.js'
import { peersOffering } from '../fakes/builder-peers.js'
import { debianMachine } from '../fakes/debian-machine.js'

/** Returns a machine that wants every task. */
function everything(tls: 'self-signed' | 'acme'): MachineDefinition {
  return debianMachine({
    hydra: {
      enable: true,
      cache: { enable: true },
      nixServe: { enable: true },
      postfix: { enable: true },
      nginx: { enable: true, tls, acmeEmail: 'admin@example.org' },
      admin: { userName: 'alice', password: { generate: true } },
      projects: {},
    },
    autoUpdate: { enable: true, url: 'https://hydra.example.org', project: 'infra', jobset: 'main' },
    builder: { enable: true, for: ['other'], cache: { enable: true } },
  })
}

const machines = [everything('self-signed'), everything('acme'), debianMachine({})]
const reserved = machines.flatMap((definition) =>
  setupTasks.flatMap(
    (bind) =>
      bind({
        definition,
        deployment: 'lab',
        peers: peersOffering(definition.name),
        publishedPort: () => undefined,
      })?.owns ?? [],
  ),
)

/**
 * The files that tasks only read, or remove only in Debian's form. A folder is listed if tasks write single files in
 * it.
 */
const onlyRead = [
  '/etc/mailname',
  '/etc/nginx/conf.d',
  '/etc/nginx/sites-available/default',
  '/etc/nginx/sites-enabled/default',
  '/etc/nix/hydra-ops-cache-key',
  '/etc/nix/machines',
  '/etc/postfix',
  '/etc/postgresql',
  '/etc/systemd/system',
]

/** Returns the paths below /etc that the sources of set-up tasks name in full. */
function pathsInSources(): string[] {
  const folder = join(packageRoot(), 'src', 'setup')
  const sources = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('.ts'),
  )
  const texts = sources.map((file) =>
    readFileSync(join(folder, file), 'utf8').replaceAll(/^\s*(?:\/\/|\/?\*).*$/gm, ''),
  )
  const named = texts.flatMap((text) => text.match(/\/etc\/[A-Za-z0-9_./@$-]+/g) ?? [])
  return [...new Set(named.filter((path) => !path.includes('$')).map((path) => path.replace(/[./]+$/, '')))]
}

it('every file below /etc that the source of a task names in full is reserved', () => {
  const paths = pathsInSources()
  expect(paths.length).toBeGreaterThan(10)
  const free = paths.filter((path) => {
    const wanted = [{ option: ['deployment', 'files', path], path }]
    return placeProblems(wanted, reserved).length === 0
  })
  expect(free.filter((path) => !onlyRead.includes(path))).toEqual([])
})

const SchemaNode = z.looseObject({
  properties: z.record(z.string(), z.unknown()).default({}),
  additionalProperties: z.unknown(),
  anyOf: z.array(z.unknown()).default([]),
})

/** Returns the schemas of a named property, including the schemas in the alternatives of a union. */
function schemasOf(schema: unknown, part: string): unknown[] {
  const { success, data } = SchemaNode.safeParse(schema)
  if (!success) return []
  const named = Object.entries(data.properties).flatMap(([key, value]) => (key === part ? [value] : []))
  const free = typeof data.additionalProperties === 'object' ? [data.additionalProperties] : []
  return [...named, ...free, ...data.anyOf.flatMap((each) => schemasOf(each, part))]
}

const options = z.toJSONSchema(DebianOptions.extend(ClosureOptions.shape), {
  io: 'input',
  unrepresentable: 'any',
})

/** Tells whether an option `deployment.…` of this name exists. */
function isOption(name: string): boolean {
  const [, ...parts] = name.split('.')
  let schemas: unknown[] = [options]
  for (const part of parts) schemas = schemas.flatMap((schema) => schemasOf(schema, part))
  return schemas.length > 0
}

it.each([
  ['deployment.hydra.database.authentication', true],
  ['deployment.files', true],
  ['deployment.aptPackages', true],
  ['deployment.hydra.database.authentification', false],
  ['deployment.hydra.nginx.port.number', false],
  ['deployment.file', false],
])('the check of names knows whether %s is an option: %s', (name, there) => {
  expect(isOption(name)).toBe(there)
})

it('every reserved place names an existing option, or another place, for the same purpose', () => {
  const unclear = reserved.filter(({ instead }) => {
    const options = instead.match(/deployment(?:\.[A-Za-z]+)+/g) ?? []
    const elsewhere = /\b(?:in the same folder|another folder|no file)\b/.test(instead)
    return !options.every(isOption) || (options.length === 0 && !elsewhere)
  })
  expect(unclear.map(({ path, instead }) => [path, instead])).toEqual([])
  expect(new Set(reserved.map(({ owner }) => owner)).size).toBeGreaterThan(6)
})
