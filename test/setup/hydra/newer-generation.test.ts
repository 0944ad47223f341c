import { describe, expect, it } from 'vitest'
import type { HydraOptions } from '../../../src/core/hydra-options.js'
import { hydraConfig, hydraEnvironment } from '../../../src/setup/hydra/config-text.js'
import {
  builderOptions,
  builderSettings,
  evaluatorSettings,
  ownBuilder,
  queueRunnerSettings,
  unusableBuilders,
} from '../../../src/setup/hydra/joining-builders.js'
import { liveLogsSettings } from '../../../src/setup/hydra/live-logs.js'
import type { HydraFacts } from '../../../src/setup/hydra/package-facts.js'
import { type HydraSettings, hydraSettings } from '../../../src/setup/hydra/settings.js'
import { allHydraUnits, hydraUnits } from '../../../src/setup/hydra/units.js'
import { taskMachine } from '../../fakes/task-run.js'

const database = { name: 'hydra', port: 5432 }
const path = '/nix/store/00000000000000000000000000000000-hydra'

/** The facts of Hydra at 14332fbf. */
const august2026: HydraFacts = {
  database: 'url',
  runner: 'takes-builders',
  metrics: false,
  builderSettings: 'file',
  evaluatorSettings: 'hydra.conf',
  programs: new Set([
    ...['hydra-init', 'hydra-server', 'hydra-evaluator', 'hydra-queue-runner', 'hydra-create-user'],
    ...['hydra-notify', 'hydra-send-stats', 'hydra-update-gc-roots', 'hydra-builder'],
  ]),
  systems: ['x86_64-linux', 'aarch64-linux', 'builtin'],
  cores: 2,
  kvm: true,
}

function settings(hydra: Record<string, unknown> = {}): HydraSettings {
  const found = hydraSettings(
    taskMachine({ hydra: { enable: true, hostName: 'hydra.example.org', ...hydra } }),
  )
  if (found === undefined) throw new Error('no Hydra is wanted')
  return found
}

function units(hydra: Record<string, unknown> = {}, facts = august2026) {
  const postgresql = 'postgresql@15-main.service'
  return hydraUnits({ settings: settings(hydra), package: path, facts, database, postgresql })
}

const unit = (name: string, hydra: Record<string, unknown> = {}, facts = august2026) =>
  units(hydra, facts).find((each) => each.name === name)?.text ?? ''

const buildMachines = (...machines: Record<string, unknown>[]): HydraOptions['buildMachines'] =>
  settings({ buildMachines: machines }).options.buildMachines

describe('the units of a Hydra with a queue runner that builders connect to', () => {
  it('include the machine’s own builder', () => {
    expect(units().map(({ name }) => name)).toEqual([
      'hydra-init.service',
      'hydra-server.service',
      'hydra-evaluator.service',
      'hydra-queue-runner.service',
      'hydra-builder.service',
      'hydra-notify.service',
      'hydra-update-gc-roots.service',
      'hydra-update-gc-roots.timer',
    ])
  })

  it('are all known, so that another generation removes them', () => {
    expect(units({ minimumDiskFree: 1 }).filter(({ name }) => !allHydraUnits.includes(name))).toEqual([])
    const older = units({}, { ...august2026, runner: 'goes-to-builders' })
    expect(older.map(({ name }) => name)).not.toContain('hydra-builder.service')
  })

  it('start the queue runner with settings, a status port of the machine alone, and a socket of its own user', () => {
    const text = unit('hydra-queue-runner.service')
    expect(text).toContain(
      `ExecStart=${path}/bin/hydra-queue-runner --rest-bind 127.0.0.1:8080 --grpc-bind /run/hydra-queue-runner/builders.sock --config-path /etc/hydra/queue-runner.toml\n`,
    )
    expect(text).toContain('Type=notify\nUser=hydra-queue-runner\n')
    expect(text).toContain('RuntimeDirectory=hydra-queue-runner\nRuntimeDirectoryMode=0700\n')
    expect(text).toContain('Environment="HOME=/run/hydra-queue-runner"\n')
    expect(text).toContain(`Environment="PATH=${path}/bin:/usr/bin:/bin"\n`)
    expect(text).not.toMatch(/--unlock|IN_SYSTEMD|NIX_REMOTE_SYSTEMS|HYDRA_DBI/)
    expect(unit('hydra-queue-runner.service', { queueRunnerPort: 18080 })).toContain(
      '--rest-bind 127.0.0.1:18080 ',
    )
  })

  it('let the queue runner write to the destination of its copies', () => {
    expect(
      unit('hydra-queue-runner.service', { cache: { enable: true, directory: '/srv/cache' } }),
    ).toContain('/var/lib/hydra/build-logs /srv/cache /nix/var/nix/gcroots/hydra\n')
  })

  it('start the builder after the queue runner, as the same user, and again whenever it ends', () => {
    const text = unit('hydra-builder.service')
    expect(text).toContain(
      `ExecStart=${path}/bin/hydra-builder --gateway-endpoint unix:///run/hydra-queue-runner/builders.sock --config-path /etc/hydra/builder.toml\n`,
    )
    expect(text).toContain('Type=notify\nUser=hydra-queue-runner\n')
    expect(text).toContain('Restart=always\nRestartSec=5\n')
  })

  it('stop and start the builder with the queue runner, and never the other way round', () => {
    expect(unit('hydra-queue-runner.service')).toContain('\nWants=hydra-builder.service\n')
    const text = unit('hydra-builder.service')
    expect(text).toContain('\nAfter=hydra-queue-runner.service\nPartOf=hydra-queue-runner.service\n')
    expect(text.match(/^Wants=.*$/gm)).toEqual(['Wants=hydra-init.service'])
  })

  it('are hardened, and no unit requires another', () => {
    for (const { name, text } of units().filter(({ name: each }) => each.endsWith('.service'))) {
      expect(text, name).toMatch(/NoNewPrivileges=true[\s\S]*ProtectSystem=strict/)
      expect(text, name).not.toContain('Requires=')
    }
  })

  it('restart when their own settings have changed', () => {
    const reads = Object.fromEntries(units().map((each) => [each.name, each.reads]))
    expect(reads).toMatchObject({
      'hydra-server.service': ['/etc/hydra/hydra.conf'],
      'hydra-queue-runner.service': ['/etc/hydra/queue-runner.toml'],
      'hydra-builder.service': ['/etc/hydra/builder.toml'],
    })
  })

  it('escape the percent signs of the URL of the database', () => {
    const text = unit('hydra-server.service')
    expect(text).toContain(
      'Environment="HYDRA_DATABASE_URL=postgres://hydra@%%2Frun%%2Fpostgresql:5432/hydra?application_name=hydra-server"\n',
    )
  })

  it('give a builder from before July 2026 its settings as options', () => {
    const text = unit('hydra-builder.service', {}, { ...august2026, builderSettings: 'options' })
    expect(text).toContain(
      'hydra-builder --gateway-endpoint unix:///run/hydra-queue-runner/builders.sock --max-jobs 2 --speed-factor 1 --systems x86_64-linux --systems aarch64-linux --supported-features kvm ',
    )
    expect(text).not.toContain('--config-path')
  })

  it('name the file of an evaluator with settings of its own, also when it only unlocks', () => {
    const text = unit('hydra-evaluator.service', {}, { ...august2026, evaluatorSettings: 'file' })
    expect(text).toContain(`ExecStart=${path}/bin/hydra-evaluator --config-path /etc/hydra/evaluator.toml\n`)
    expect(text).toContain(
      `ExecStopPost=${path}/bin/hydra-evaluator --config-path /etc/hydra/evaluator.toml --unlock\n`,
    )
    expect(unit('hydra-evaluator.service')).not.toContain('--config-path')
    expect(evaluatorSettings).toMatch(/^#.*\n$/)
  })

  it('get the database from HYDRA_DBI before August 2026', () => {
    expect(unit('hydra-server.service', {}, { ...august2026, database: 'dbi' })).toContain('HYDRA_DBI=')
  })
})

describe('hydra.conf of a newer generation', () => {
  it('sends logs of running builds to the browser where the package has hydra-ws, through nginx alone', () => {
    const facts = { runner: 'takes-builders', programs: new Set(['hydra-ws']) } as const
    const conf = (hydra: Record<string, unknown>, more: Partial<typeof facts> = {}) =>
      hydraConfig(settings(hydra), { ...facts, ...more })
    const url = 'https://hydra.example.org'
    expect(conf({ nginx: { enable: true }, url })).toContain(
      '\nws_endpoint = wss://hydra.example.org/hydra-ws\n',
    )
    expect(conf({ nginx: { enable: true }, url: 'http://ci.example.org' })).toContain(
      '\nws_endpoint = ws://ci.example.org/hydra-ws\n',
    )
    expect(conf({ url })).not.toContain('ws_endpoint')
    expect(conf({ nginx: { enable: true } }, { programs: new Set() })).not.toContain('ws_endpoint')
    expect(liveLogsSettings({ name: 'hydra', port: 5433 })).toMatch(
      /^hydraDataDir = "\/var\/lib\/hydra"\ndbUrl = "postgres:\/\/hydra@%2Frun%2Fpostgresql:5433\/hydra\?application_name=hydra-ws"\nmaxDbConnections = 8$/m,
    )
  })

  it('names the address of the queue runner, which an older generation does not need', () => {
    expect(hydraConfig(settings({ queueRunnerPort: 18080 }), august2026)).toContain(
      'queue_runner_endpoint = http://127.0.0.1:18080\n',
    )
    expect(hydraConfig(settings(), { runner: 'goes-to-builders' })).not.toContain('queue_runner_endpoint')
  })

  it('names no list of machines, and neither does its environment', () => {
    expect(hydraEnvironment(database, august2026)).not.toHaveProperty('NIX_REMOTE_SYSTEMS')
    expect(hydraEnvironment(database, { ...august2026, runner: 'goes-to-builders' })).toHaveProperty(
      'NIX_REMOTE_SYSTEMS',
    )
  })
})

describe('the settings file of its queue runner', () => {
  const header = '# Written by hydra-ops (set-up task "hydra"); changes made here are overwritten.\n'

  it('names the database, the roots and the cache with its key', () => {
    const cache = { enable: true, secretKeyFile: '/etc/hydra/cache.sec' }
    expect(queueRunnerSettings(settings({ cache }), { name: 'ci', port: 5433 })).toBe(`${header}\
hydraDataDir = "/var/lib/hydra"
dbUrl = "postgres://hydra@%2Frun%2Fpostgresql:5433/ci?application_name=hydra-queue-runner"
maxDbConnections = 32
rootsDir = "/nix/var/nix/gcroots/hydra"
useSubstitutes = false
remoteStoreAddr = ["file:///var/lib/hydra/cache?secret-key=/etc/hydra/cache.sec"]
`)
  })

  it('names no cache when none is requested', () => {
    expect(queueRunnerSettings(settings({ useSubstitutes: true }), database)).toMatch(
      /useSubstitutes = true\n$/,
    )
  })
})

describe('the machine’s own builder', () => {
  const options = (...machines: Record<string, unknown>[]) => ({
    buildMachines: buildMachines(...machines),
    useSubstitutes: false,
  })

  it('offers all capabilities of the machine when no builder is named', () => {
    expect(builderSettings(ownBuilder(options(), august2026)).split('\n').slice(1, -1)).toEqual([
      'maxJobs = 2',
      'speedFactor = 1',
      'systems = ["x86_64-linux","aarch64-linux"]',
      'supportedFeatures = ["kvm","nixos-test","benchmark","big-parallel"]',
      'mandatoryFeatures = []',
      'useSubstitutes = false',
    ])
  })

  it('follows the options of localhost', () => {
    const wish = {
      hostName: 'localhost',
      systems: ['i686-linux'],
      maxJobs: 7,
      speedFactor: 3,
      supportedFeatures: ['big-parallel'],
      mandatoryFeatures: ['slow'],
    }
    expect(ownBuilder(options(wish), august2026)).toEqual({
      maxJobs: 7,
      speedFactor: 3,
      systems: ['i686-linux'],
      supportedFeatures: ['big-parallel', 'slow'],
      mandatoryFeatures: ['slow'],
      useSubstitutes: false,
    })
    expect(builderOptions(ownBuilder(options(wish), august2026)).join(' ')).toBe(
      '--max-jobs 7 --speed-factor 3 --systems i686-linux --supported-features big-parallel --supported-features slow --mandatory-features slow',
    )
  })

  it('is the only possible builder', () => {
    const local = { hostName: 'localhost', systems: ['x86_64-linux'] }
    expect(unusableBuilders(buildMachines())).toBeUndefined()
    expect(unusableBuilders(buildMachines(local))).toBeUndefined()
    expect(unusableBuilders(buildMachines(local, { ...local, hostName: 'b.example.org' }))).toContain(
      'names b.example.org',
    )
    expect(unusableBuilders(buildMachines(local, local))).toContain('localhost more than once')
  })
})
