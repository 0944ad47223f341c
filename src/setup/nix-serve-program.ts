import { failure } from '../core/errors.js'
import type { Run } from '../core/run.js'
import type { Host } from '../core/ssh.js'
import type { PlacedFile } from '../remote/place-files.js'
import { askMachine, type Facts, fact } from '../remote/run-script.js'
import { publicFile, type ServiceSet, unitPath } from '../remote/services.js'
import { placedScript } from '../remote/target-scripts.js'

/** A program that serves the store, with the facts in which its versions differ. */
export type CacheProgram =
  /** The first nix-serve, in Perl. */
  | { readonly kind: 'nix-serve' }
  /** nix-serve-ng, which has the same name, and none of Starman's options. */
  | { readonly kind: 'nix-serve-ng' }
  | Harmonia

/** harmonia, which a file configures. (Variables, settings and versions: read in its source up to 3.2.0.) */
interface Harmonia {
  readonly kind: 'harmonia'
  /** Name in the package's bin. */
  readonly name: 'harmonia-cache' | 'harmonia'
  /** Variable with the signing key: the plural exists since version 1.0. */
  readonly keyVariable: 'SIGN_KEY_PATHS' | 'SIGN_KEY_PATH'
  /** Whether the program tells systemd when it listens: since version 3.1. */
  readonly notifies: boolean
  /** Whether the program reads Nix's database itself, in place of asking the daemon: since version 3.1. */
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

/** Unit of the program, whatever program it is. */
export const serveUnit = 'nix-serve.service'
/** Unit that keeps Nix's database readable for a harmonia without root. */
export const holdUnit = 'nix-serve-store.service'
export const harmoniaFile = '/etc/nix-serve/harmonia.toml'
export const holdFile = '/etc/nix-serve/hold-store.sh'

const firstLine = '# Written by hydra-ops (set-up task "nix-serve"); changes made here are overwritten.'

/** Looks which program a package has; `undefined` means none, or no package on the machine. */
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
 * calls `nix dump-path` since 2020: without `nix-command` every NAR is empty, with status 200 (measured).
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
      // Its --listen takes an IPv6 address since version 1.1 alone.
      return {
        environment: [ofNix('NIX_SECRET_KEY_FILE')],
        exec: `nix-serve --host ${options.address} --port ${options.port}`,
      }
    case 'harmonia':
      return {
        type: program.notifies ? ['Type=notify'] : [],
        environment: [
          ofNix(program.keyVariable),
          // A proxy logs the requests.
          `CONFIG_FILE=${harmoniaFile} RUST_LOG=info,actix_web::middleware=error`,
        ],
        exec: program.name,
      }
  }
}

/** Writes harmonia's settings. The program ends at an unknown setting, so the file has only those of every version. */
function harmoniaSettings(options: CacheUnitOptions): PlacedFile {
  return publicFile(
    harmoniaFile,
    `${firstLine}\nbind = ${JSON.stringify(listensAt(options))}\nworkers = 2\npriority = 30\n`,
  )
}

/**
 * Writes the unit that holds Nix's database open, as root and without a network. harmonia may not create the database's
 * files for its readers (measured: "attempt to write a readonly database").
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
