import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { CommonOptions, type MachineDefinition } from '../../src/core/definition.js'
import { MachineName } from '../../src/core/names.js'
import { placeProblems } from '../../src/core/owned-places.js'
import { packageRoot } from '../../src/core/package-root.js'
import { setupTasks } from '../../src/setup/tasks.js'

/** A machine that wants every task. */
function everything(tls: 'self-signed' | 'acme'): MachineDefinition {
  const options = CommonOptions.parse({
    os: 'debian',
    hydra: {
      enable: true,
      cache: { enable: true },
      nixServe: { enable: true },
      postfix: { enable: true },
      nginx: { enable: true, tls, acmeEmail: 'admin@example.org' },
      admin: { userName: 'alice', password: { generate: true } },
    },
  })
  return {
    name: MachineName.parse('ci'),
    options,
    providerName: 'ssh',
    provider: {},
    files: {},
    units: {},
    packageCount: 0,
    hasActivate: false,
    origins: {},
  }
}

const reserved = (['self-signed', 'acme'] as const).flatMap((tls) =>
  setupTasks.flatMap(
    (bind) =>
      bind({ definition: everything(tls), deployment: 'lab', publishedPort: () => undefined })?.owns ?? [],
  ),
)

/** Files that tasks read, or remove only as Debian brought them, and folders of which they write single files. */
const onlyRead = [
  '/etc/mailname',
  '/etc/nginx/conf.d',
  '/etc/nginx/sites-available/default',
  '/etc/nginx/sites-enabled/default',
  '/etc/nix/machines',
  '/etc/postfix',
  '/etc/postgresql',
  '/etc/systemd/system',
]

/** Paths below /etc that the sources of set-up tasks name in full. */
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

it('every file below /etc that a task names is reserved', () => {
  const paths = pathsInSources()
  expect(paths.length).toBeGreaterThan(10)
  const free = paths.filter((path) => {
    const wanted = [{ option: ['deployment', 'files', path], path }]
    return placeProblems(wanted, reserved).length === 0
  })
  expect(free.filter((path) => !onlyRead.includes(path))).toEqual([])
})

it('every task says which option does what users want in its files', () => {
  expect(
    reserved.map(({ path, instead }) => [path, instead]).filter(([, instead]) => instead === ''),
  ).toEqual([])
  expect(new Set(reserved.map(({ owner }) => owner)).size).toBeGreaterThan(6)
})
