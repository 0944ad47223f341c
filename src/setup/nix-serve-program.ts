import { failure } from '../core/errors.js'
import type { Run } from '../core/run.js'
import type { Host } from '../core/ssh.js'
import type { PlacedFile } from '../remote/place-files.js'
import { askMachine, type Facts, fact } from '../remote/run-script.js'
import { publicFile, type ServiceSet, unitPath } from '../remote/services.js'
import { placedScript } from '../remote/target-scripts.js'

/** A program that serves the store, with the facts in which its versions differ. */
export type CacheProgram =
  /** The original nix-serve, in Perl. */
  | { readonly kind: 'nix-serve' }
  /** nix-serve-ng, whose program is also named `nix-serve`, but has none of Starman's options. */
  | { readonly kind: 'nix-serve-ng' }
  | Harmonia

/** harmonia, which reads its settings from a file. (The facts below come from its source code up to 3.2.0.) */
interface Harmonia {
  readonly kind: 'harmonia'
  /** Name of the program in the package's bin folder. */
  readonly name: 'harmonia-cache' | 'harmonia'
  /** Variable with the path of the signing key; version 1.0 introduced the plural. */
  readonly keyVariable: 'SIGN_KEY_PATHS' | 'SIGN_KEY_PATH'
  /** Whether the program notifies systemd when it listens (since version 3.1). */
  readonly notifies: boolean
  /** Whether the program reads Nix's database itself, instead of asking the daemon (since version 3.1). */
  readonly readsDatabase: boolean
}

/** Options that the units of a cache need. */
export interface CacheUnitOptions {
  /** Store path of the package. */
  readonly package: string
  readonly address: string
  readonly port: number
  readonly secretKeyFile: string
}

/** Unit of the cache program, whichever kind it is. */
export const serveUnit = 'nix-serve.service'
/** Unit that keeps Nix's database readable for a harmonia without root. */
export const holdUnit = 'nix-serve-store.service'
export const harmoniaFile = '/etc/nix-serve/harmonia.toml'
export const holdFile = '/etc/nix-serve/hold-store.sh'

const firstLine = '# Written by hydra-ops (set-up task "nix-serve"); changes made here are overwritten.'

/** Finds the program that a package has; returns `undefined` without a known program, or without the package. */
export async function findCacheProgram(
  host: Host,
  path: string,
  run: Run,
): Promise<CacheProgram | undefined> {
  const question = {
    what: 'look at the package of nix-serve',
    script: 'tasks/nix-serve/program',
    values: { package: path },
  }
  return programOf(await askMachine(host, question, run))
}

function programOf(facts: Facts): CacheProgram | undefined {
  const kind = fact(facts, 'kind')
  if (kind === 'nix-serve' || kind === 'nix-serve-ng') return { kind }
  if (kind !== 'harmonia') return undefined
  return {
    kind,
    name: fact(facts, 'name') === 'harmonia' ? 'harmonia' : 'harmonia-cache',
    keyVariable: fact(facts, 'keys') === 'paths' ? 'SIGN_KEY_PATHS' : 'SIGN_KEY_PATH',
    notifies: fact(facts, 'notifies') === 'yes',
    readsDatabase: fact(facts, 'database') === 'yes',
  }
}

/** Returns the program of the package, or throws an error that says which programs a package may have. */
export async function requireCacheProgram(host: Host, path: string, run: Run): Promise<CacheProgram> {
  const program = await findCacheProgram(host, path, run)
  if (program !== undefined) return program
  const why = `${path} has no bin/nix-serve, bin/harmonia-cache or bin/harmonia`
  throw failure('PACKAGE', `machine '${host.machine}': ${why}`, {
    machine: host.machine,
    hint: 'deployment.hydra.nixServe.package must be a package of nix-serve, nix-serve-ng or harmonia',
  })
}

export function listensAt({ address, port }: Pick<CacheUnitOptions, 'address' | 'port'>): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}

/** Lists the files and units of a cache, and the units that another kind of program would have. */
export function cacheServices(options: CacheUnitOptions, program: CacheProgram): ServiceSet {
  const unit = publicFile(unitPath(serveUnit), cacheUnit(options, program))
  const settings = program.kind === 'harmonia' ? [harmoniaSettings(options)] : []
  const hold = holdsStore(program) ? holdFiles() : []
  return {
    owner: 'nix-serve',
    files: [...hold, ...settings, unit],
    units: [
      ...(hold.length === 0 ? [] : [{ name: holdUnit, reads: hold.map(({ path }) => path) }]),
      { name: serveUnit, reads: [...settings, unit].map(({ path }) => path) },
    ],
    obsolete: hold.length === 0 ? [holdUnit] : [],
  }
}

export function holdsStore(program: CacheProgram): boolean {
  return program.kind === 'harmonia' && program.readsDatabase
}

/**
 * Writes the unit. systemd reads the key as root (LoadCredential), and the process has its own dynamic user. nix-serve
 * has called `nix dump-path` since 2020: without `nix-command` every NAR is empty, with status 200 (measured).
 */
export function cacheUnit(options: CacheUnitOptions, program: CacheProgram): string {
  const { type = [], environment, exec } = startOf(options, program)
  return `${firstLine}
[Unit]
Description=nix-serve: the store as a binary cache
${holdsStore(program) ? `Wants=${holdUnit}\nAfter=${holdUnit} ` : 'After='}nix-daemon.socket network.target
StartLimitIntervalSec=0

[Service]
${type.map((line) => `${line}\n`).join('')}DynamicUser=true
User=nix-serve
SupplementaryGroups=nix-users
RuntimeDirectory=nix-serve
LoadCredential=key:${options.secretKeyFile}
${environment.map((line) => `Environment=${line}\n`).join('')}ExecStart=${options.package}/bin/${exec}
Restart=always
RestartSec=5

[Install]
WantedBy=multi-user.target
`
}

/** The lines of the unit in which the programs differ. */
interface Start {
  readonly type?: readonly string[]
  readonly environment: readonly string[]
  readonly exec: string
}

function startOf(options: CacheUnitOptions, program: CacheProgram): Start {
  const ofNix = (keyVariable: string) => `NIX_REMOTE=daemon ${keyVariable}=%d/key HOME=%t/nix-serve`
  switch (program.kind) {
    case 'nix-serve':
      return {
        environment: [ofNix('NIX_SECRET_KEY_FILE'), '"NIX_CONFIG=extra-experimental-features = nix-command"'],
        exec: `nix-serve --listen ${listensAt(options)} --workers 2`,
      }
    case 'nix-serve-ng':
      // The --listen option accepts an IPv6 address only since version 1.1.
      return {
        environment: [ofNix('NIX_SECRET_KEY_FILE')],
        exec: `nix-serve --host ${options.address} --port ${options.port}`,
      }
    case 'harmonia':
      return {
        type: program.notifies ? ['Type=notify'] : [],
        environment: [
          ofNix(program.keyVariable),
          // The proxy in front of harmonia logs the requests.
          `CONFIG_FILE=${harmoniaFile} RUST_LOG=info,actix_web::middleware=error`,
        ],
        exec: program.name,
      }
  }
}

/**
 * Writes harmonia's settings. harmonia exits at an unknown setting, so the file has only settings that every version
 * supports.
 */
function harmoniaSettings(options: CacheUnitOptions): PlacedFile {
  return publicFile(
    harmoniaFile,
    `${firstLine}\nbind = ${JSON.stringify(listensAt(options))}\nworkers = 2\npriority = 30\n`,
  )
}

/**
 * Writes the unit that holds Nix's database open, as root and without a network. harmonia is not allowed to create the
 * files that SQLite needs beside the database (measured: "attempt to write a readonly database").
 */
function holdFiles(): PlacedFile[] {
  const unit = `${firstLine}
[Unit]
Description=nix-serve: Nix's database stays open for harmonia
StartLimitIntervalSec=0

[Service]
RuntimeDirectory=nix-serve-store
RuntimeDirectoryMode=0700
Environment=NIX_REMOTE=local HOME=%t/nix-serve-store
ExecStart=/bin/sh ${holdFile}
Restart=always
RestartSec=5
PrivateNetwork=true
PrivateTmp=true
NoNewPrivileges=true

[Install]
WantedBy=multi-user.target
`
  return [
    publicFile(holdFile, placedScript('tasks/nix-serve/hold-store', {})),
    publicFile(unitPath(holdUnit), unit),
  ]
}
