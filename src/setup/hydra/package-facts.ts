import { createHash } from 'node:crypto'
import { failure } from '../../core/errors.js'
import type { Run } from '../../core/run.js'
import type { Host } from '../../core/ssh.js'
import { targetFile } from '../../core/target-file.js'
import type { PlacedFile } from '../../remote/place-files.js'
import { askMachine, type Facts, fact } from '../../remote/run-script.js'
import { nixRecordFile } from '../nix-start.js'

/** Facts about Hydra's package and its machine that only the machine can tell. */
export interface HydraFacts {
  /**
   * Way to name the database: HYDRA_DBI in older versions, or a URL since August 2026, when Hydra began to ignore
   * HYDRA_DBI.
   */
  readonly database: 'dbi' | 'url'
  /**
   * Direction of the connections. Older queue runners connect to the machines of a list, over ssh or on localhost.
   * Builders connect to the queue runner since March 2026 (in Rust), including the machine's own builder.
   */
  readonly runner: 'goes-to-builders' | 'takes-builders'
  /** Way to configure hydra-builder: a file since the end of July 2026. */
  readonly builderSettings: 'file' | 'options'
  /** Whether the queue runner listens for requests for its metrics; a runner in C++ does so since April 2022. */
  readonly metrics: boolean
  /** Place of the evaluator's settings: a separate file since September 2026 (in Rust). */
  readonly evaluatorSettings: 'file' | 'hydra.conf'
  /** Programs of the package with names hydra-*. */
  readonly programs: ReadonlySet<string>
  readonly systems: readonly string[]
  readonly cores: number
  readonly kvm: boolean
}

/** Facts from one look at the package. */
export interface ExaminedHydra extends HydraFacts {
  /** Whether each program ended by itself; a program that was stopped may support more options. */
  readonly sure: boolean
}

/** Programs that every Hydra needs. */
const essential = ['hydra-init', 'hydra-server', 'hydra-evaluator', 'hydra-queue-runner', 'hydra-create-user']

/** Programs that moved to separate packages in March and September 2026. */
const apart = ['hydra-queue-runner', 'hydra-builder', 'hydra-evaluator']

/** File on the machine with the result of the last examination of a package. */
export const packageRecordFile = '/var/lib/hydra-ops/hydra-package'

/** Reads the facts; `anew` ignores the record of an earlier examination. */
export async function hydraFacts(
  host: Host,
  packagePath: string,
  run: Run,
  { anew = false }: { readonly anew?: boolean } = {},
): Promise<ExaminedHydra> {
  const record = anew || !isImmutable(packagePath) ? '' : packageRecordFile
  const examined = recordTitle(packagePath)
  const values = { package: packagePath, apart, record, examined, nix_record: nixRecordFile }
  const question = { what: 'look at the package of Hydra', script: 'tasks/hydra/package', values }
  const facts = await askMachine(host, question, run)
  const takesBuilders = takes(facts, 'hydra-queue-runner', '--grpc-bind')
  const programs = new Set(facts.get('program') ?? [])
  const needed = [...essential, ...(takesBuilders ? ['hydra-builder'] : [])]
  const missing = needed.filter((program) => !programs.has(program))
  if (missing.length > 0) throw incomplete(host, packagePath, missing)
  return {
    database: fact(facts, 'url') === 'yes' ? 'url' : 'dbi',
    runner: takesBuilders ? 'takes-builders' : 'goes-to-builders',
    metrics: !takesBuilders && fact(facts, 'metrics') !== 'no',
    builderSettings: takes(facts, 'hydra-builder', '--config-path') ? 'file' : 'options',
    evaluatorSettings: takes(facts, 'hydra-evaluator', '--config-path') ? 'file' : 'hydra.conf',
    programs,
    systems: facts.get('system') ?? [],
    cores: Math.max(1, Number(fact(facts, 'cores')) || 1),
    kvm: fact(facts, 'kvm') === 'yes',
    sure: !apart.some((program) => takes(facts, program, '--unsure')),
  }
}

/**
 * Describes the record of an examination, in the format of the script that reads the record. A folder outside the Nix
 * store may change, and an unsure answer may be wrong. Neither gets a record.
 */
export function packageRecord(packagePath: string, facts: ExaminedHydra): PlacedFile | undefined {
  if (!isImmutable(packagePath) || !facts.sure) return undefined
  const lines = [
    recordTitle(packagePath),
    ...(facts.runner === 'takes-builders' ? ['takes=hydra-queue-runner --grpc-bind'] : []),
    ...(facts.builderSettings === 'file' ? ['takes=hydra-builder --config-path'] : []),
    ...(facts.evaluatorSettings === 'file' ? ['takes=hydra-evaluator --config-path'] : []),
    ...(facts.metrics ? [] : ['metrics=no']),
    ...(facts.database === 'url' ? ['url=yes'] : []),
  ]
  const content = `${lines.join('\n')}\n`
  return { path: packageRecordFile, content, mode: 0o644, user: 'root', group: 'root' }
}

function isImmutable(packagePath: string): boolean {
  return packagePath.startsWith('/nix/store/')
}

/** Names the package and the script, because another version of the script may look for other facts. */
function recordTitle(packagePath: string): string {
  const version = createHash('sha256').update(targetFile('tasks/hydra/package.sh')).digest('hex')
  return `${packagePath} ${version.slice(0, 16)}`
}

function takes(facts: Facts, program: string, option: string): boolean {
  return (facts.get('takes') ?? []).includes(`${program} ${option}`)
}

function incomplete(host: Host, path: string, missing: readonly string[]): Error {
  const why = `${path} is not a complete package of Hydra: it lacks ${missing.join(', ')}`
  return failure('PACKAGE', `machine '${host.machine}': ${why}`, {
    machine: host.machine,
    hint: missing.every((program) => apart.includes(program))
      ? 'join the packages of Hydra (several since 2026) in deployment.hydra.package: pkgs.symlinkJoin { name = "hydra"; paths = [ hydra hydra-queue-runner hydra-builder ]; }'
      : 'deployment.hydra.package must be the package that has bin/hydra-server and the other programs',
  })
}
