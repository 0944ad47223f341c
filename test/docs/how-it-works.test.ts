import { describe, expect, it } from 'vitest'
import { MachineName } from '../../src/core/names.js'
import { hydraConfig, machinesFile } from '../../src/setup/hydra/config-text.js'
import { type HydraSettings, hydraSettings } from '../../src/setup/hydra/settings.js'
import { hydraUnits } from '../../src/setup/hydra/units.js'
import { siteText } from '../../src/setup/nginx/site-text.js'
import { nixOptions, nixSettings } from '../../src/setup/nix-config.js'
import { cacheUnit } from '../../src/setup/nix-serve-program.js'
import { postgresqlTask } from '../../src/setup/postgresql/task.js'
import { setupTasks } from '../../src/setup/tasks.js'
import { peersOffering } from '../fakes/builder-peers.js'
import { debianMachine } from '../fakes/debian-machine.js'
import { nixosMachine } from '../fakes/nixos-machine.js'
import { readDocument } from './documents.js'
import { codeBlocks, headings } from './markdown.js'

/** The definition of the machine that the document describes. */
const definition = {
  ...debianMachine({
    hydra: {
      enable: true,
      hostName: 'hydra.example.org',
      cache: { enable: true },
      nixServe: { enable: true },
      nginx: { enable: true, cacheHostName: 'cache.example.org' },
      admin: { userName: 'alice', password: { generate: true } },
      projects: {},
    },
  }),
  name: MachineName.parse('ci'),
}
const machine = { definition, deployment: 'lab', publishedPort: () => undefined }
const document = readDocument('docs/how-it-works.md')

describe('the list of set-up tasks', () => {
  // Mail is enabled only here, because the document's units lack the two lines that mail adds.
  const { hydra } = definition.options
  const all = {
    ...definition,
    options: {
      ...definition.options,
      hydra: { ...hydra, postfix: { enable: true } },
      binfmt: { emulatedSystems: ['aarch64-linux' as const] },

      autoUpdate: {
        ...definition.options.autoUpdate,
        enable: true,
        url: 'https://hydra.example.org',
        project: 'infra',
        jobset: 'main',
      },
      builder: {
        ...definition.options.builder,
        enable: true,
        for: [MachineName.parse('other')],
        cache: { enable: true },
      },
    },
  }
  const peers = peersOffering(definition.name)
  const nixos = {
    ...nixosMachine({ hydra: { enable: true, nixServe: { enable: true } } }),
    storeServer: { unit: 'nix-serve.service', package: null, address: '127.0.0.1', port: 5000 },
  }
  const tasks = setupTasks.map(
    (bind) => bind({ ...machine, peers, definition: all }) ?? bind({ ...machine, definition: nixos }),
  )

  it('is complete on this machine and a NixOS machine', () => {
    expect(tasks.filter((task) => task === undefined)).toEqual([])
  })

  it('has a titled part for each', () => {
    const wanted = tasks.map((task) => `\`${task?.id}\`: ${task?.title}`)
    expect(headings(document).filter((heading) => heading.startsWith('`'))).toEqual(wanted)
  })

  it('has the dependencies of the table', () => {
    const rows = tasks.map((task) => {
      const others = task?.after.map((id) => `\`${id}\``).join(', ') ?? ''
      return `| \`${task?.id}\` | ${others}${others === '' ? '' : ' '}|`
    })
    expect(document).toContain(`| --- | --- |\n${rows.join('\n')}\n`)
  })

  it('names the required packages of Debian', () => {
    const packages = [...new Set(tasks.flatMap((task) => task?.packages ?? []))]
    expect(packages.filter((name) => !document.includes(`\`${name}\``))).toEqual([])
  })
})

describe('the document shows the real text of', () => {
  const blocks = codeBlocks(document).map(({ text }) => text)
  const settings = settingsOf(hydraSettings(machine))
  const facts = {
    database: 'dbi' as const,
    runner: 'goes-to-builders' as const,
    metrics: true,
    builderSettings: 'options' as const,
    evaluatorSettings: 'hydra.conf' as const,
    programs: new Set(['hydra-server']),
    systems: ['x86_64-linux', 'builtin'],
    cores: 2,
    kvm: false,
  }
  const database = { name: 'hydra', port: 5432 }
  const units = hydraUnits({
    settings,
    package: '/nix/store/…-hydra',
    facts,
    database,
    postgresql: 'postgresql@15-main.service',
  })
  const server = units.find(({ name }) => name === 'hydra-server.service')?.text ?? ''
  const access = postgresqlTask.wanted(machine)
  const serve = cacheUnit(
    {
      package: '/nix/store/…-nix-serve',
      address: '127.0.0.1',
      port: 5000,
      secretKeyFile: settings.secretKeyFile,
    },
    { kind: 'nix-serve' },
  )

  it.each<[string, string]>([
    ['the rule of PostgreSQL', access?.rule ?? ''],
    ['the map of PostgreSQL', [...(access?.map ?? []), 'hydra-users postgres postgres'].join('\n')],
    ['the settings of Nix', nixSettings(nixOptions(definition.options))],
    ['hydra.conf', hydraConfig(settings, facts)],
    ['the list of builders', machinesFile([], facts)],
    ['a unit of Hydra', server],
    ['the unit of nix-serve', serve],
    ['the site of nginx', siteText(settings, { ipv6: true, certificate: '', key: '' })],
  ])('%s', (_, text) => {
    // The real file has one more line at the top, which names hydra-ops.
    const shown = text.trimEnd().replace(/^# Written by .*\n/, '')
    // The site returns a hash of its text, which the document shows as `…`.
    expect(blocks).toContain(shown.replaceAll(/return 200 [0-9a-f]{32};/g, 'return 200 …;'))
  })
})

function settingsOf(settings: HydraSettings | undefined): HydraSettings {
  if (settings === undefined) throw new Error('the machine wants no Hydra')
  return settings
}
