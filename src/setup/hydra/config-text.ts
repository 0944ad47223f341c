import { optionsSetBy } from '../../core/config-general.js'
import type { BuildMachine } from '../../core/hydra-options.js'
import { listFiles } from '../builders/relations.js'
import type { HydraFacts } from './package-facts.js'
import {
  type DaemonSettings,
  gcRoots,
  hasLiveLogs,
  hydraHome,
  hydraMachinesFile,
  hydraRole,
  liveLogsPath,
  signs,
} from './settings.js'

/** Hydra's database. */
export interface Database {
  readonly name: string
  readonly port: number
}

/** Returns the URI of the static cache, to which Hydra's queue runner copies every finished build, signed. */
export function storeUri({ options, secretKeyFile }: DaemonSettings): string {
  return `file://${options.cache.directory}?secret-key=${secretKeyFile}`
}

/** Escapes `#`, which begins a comment for Perl's Config::General, the reader of hydra.conf. */
function escaped(value: string): string {
  return value.replaceAll('#', '\\#')
}

/** Facts of a package that hydra.conf depends on. */
type ConfigFacts = Pick<HydraFacts, 'runner'> & Partial<Pick<HydraFacts, 'programs'>>

/**
 * Writes hydra.conf(5), in the form of nixpkgs 20.03 and later. An option in `extraConfig` replaces the value from
 * hydra-ops.
 */
export function hydraConfig(settings: DaemonSettings, facts: ConfigFacts): string {
  const { extraConfig } = settings.options
  const theirs = optionsSetBy(extraConfig)
  const lines = [
    '# Written by hydra-ops (set-up task "hydra"); changes made here are overwritten.',
    ...ownOptions(settings, facts)
      .filter(([name, value]) => value && !theirs.has(name))
      .map(([name, value]) => `${name} = ${value}`),
    ...(extraConfig === '' ? [] : [extraConfig.trimEnd()]),
  ]
  return `${lines.join('\n')}\n`
}

/** Lists every option of hydra.conf that hydra-ops sets, with its text; options without a value are left out. */
function ownOptions(
  settings: DaemonSettings,
  { runner, programs }: ConfigFacts,
): (readonly [string, string | undefined])[] {
  const { options, hostName, url, secretKeyFile } = settings
  return [
    ['using_frontend_proxy', '1'],
    ['base_uri', url],
    ['notification_sender', escaped(options.notificationSender ?? `hydra@${hostName}`)],
    ['max_servers', '25'],
    ['compress_num_threads', '0'],
    ['gc_roots_dir', gcRoots],
    // hydra-server and hydra-send-stats query this endpoint; hydra-send-stats would otherwise warn every 30 s (read
    // in its source).
    [
      'queue_runner_endpoint',
      runner === 'takes-builders' ? `http://127.0.0.1:${options.queueRunnerPort}` : undefined,
    ],
    // The pages of running builds open this URL in the browser.
    [
      'ws_endpoint',
      hasLiveLogs(settings, programs) ? `${url.replace(/^http/, 'ws')}${liveLogsPath}` : undefined,
    ],
    ['use-substitutes', options.useSubstitutes ? '1' : '0'],
    ['hydra_logo', escaped(options.logo ?? '')],
    ['tracker', escaped(options.tracker)],
    ['store_uri', options.cache.enable ? storeUri(settings) : undefined],
    // The queue runner calls the option deprecated, but hydra-server signs its answers from the store with this key
    // (measured).
    ['binary_cache_secret_key_file', signs(settings) ? secretKeyFile : undefined],
  ]
}

/**
 * Paths of the builder lists, since Hydra takes several. The first list has `buildMachines`. The set-up task
 * "builders" writes the second list, which may be missing.
 */
const machinesFiles = `${hydraMachinesFile}:${listFiles['queue runner']}`

const noFeatures = '-'

/**
 * Writes Hydra's own list of builders. The list is never /etc/nix/machines, because the daemon would then send its
 * own builds to localhost. Such a build waits for the daemon's own lock forever (measured). The name is exactly
 * `localhost`, because every other name locks the store twice.
 */
export function machinesFile(machines: readonly BuildMachine[], facts: HydraFacts): string {
  const lines =
    machines.length === 0 ? [ownLine(facts)] : machines.map((machine) => builderLine(machine, facts))
  return `${lines.join('\n')}\n`
}

function ownLine({ systems, cores, kvm }: HydraFacts): string {
  return ['localhost', systems.join(','), '-', String(cores), '1', ownFeatures(kvm).join(','), '-', '-'].join(
    ' ',
  )
}

/**
 * Lists the features of this machine: kernels need big-parallel, NixOS tests need the others. Their builds would
 * otherwise stay queued forever.
 */
export function ownFeatures(kvm: boolean): string[] {
  return [...(kvm ? ['kvm'] : []), 'nixos-test', 'benchmark', 'big-parallel']
}

function builderLine(machine: BuildMachine, facts: HydraFacts): string {
  const local = machine.hostName === 'localhost'
  const list = (values: readonly string[]) => (values.length === 0 ? noFeatures : values.join(','))
  const features = [...machine.supportedFeatures, ...machine.mandatoryFeatures]
  return [
    machine.sshUser == null || local ? machine.hostName : `${machine.sshUser}@${machine.hostName}`,
    machine.systems.join(','),
    machine.sshKey ?? '-',
    String(machine.maxJobs),
    String(machine.speedFactor),
    list(local && features.length === 0 ? ownFeatures(facts.kvm) : [...new Set(features)]),
    list(machine.mandatoryFeatures),
    machine.publicHostKey ?? '-',
  ].join(' ')
}

/** Returns the environment that tells a program of Hydra its data folder, configuration, database and builders. */
export function hydraEnvironment(
  database: Database,
  facts: Pick<HydraFacts, 'database' | 'runner'>,
  application?: string,
): Record<string, string> {
  return {
    NIX_REMOTE: 'daemon',
    HYDRA_DATA: hydraHome,
    HYDRA_CONFIG: `${hydraHome}/hydra.conf`,
    ...(facts.database === 'url'
      ? { HYDRA_DATABASE_URL: databaseUrl(database, application) }
      : { HYDRA_DBI: databaseDbi(database, application) }),
    ...(facts.runner === 'goes-to-builders' ? { NIX_REMOTE_SYSTEMS: machinesFiles } : {}),
  }
}

function databaseDbi({ name, port }: Database, application: string | undefined): string {
  const parts = [
    `dbname=${name}`,
    ...(port === 5432 ? [] : [`port=${port}`]),
    `user=${hydraRole}`,
    ...(application === undefined ? [] : [`application_name=${application}`]),
  ]
  return `dbi:Pg:${parts.map((part) => `${part};`).join('')}`.replace(
    /;$/,
    application === undefined ? ';' : '',
  )
}

export function databaseUrl({ name, port }: Database, application: string | undefined): string {
  const query = application === undefined ? '' : `?application_name=${application}`
  return `postgres://${hydraRole}@%2Frun%2Fpostgresql:${port}/${name}${query}`
}

/** Writes variables for a login shell; hydra-create-user would otherwise look for another database. */
export function shellProfile(database: Database, facts: Pick<HydraFacts, 'database' | 'runner'>): string {
  const variables = Object.entries(hydraEnvironment(database, facts)).filter(([name]) =>
    name.startsWith('HYDRA_'),
  )
  const lines = variables.map(([name, value]) => `export ${name}='${value}'`)
  return `# Written by hydra-ops (set-up task "hydra")\n${lines.join('\n')}\n`
}
