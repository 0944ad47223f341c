import { createHash } from 'node:crypto'
import { failure } from '../core/errors.js'
import type { Run } from '../core/run.js'
import type { Host } from '../core/ssh.js'
import { type PlacedFile, placeFiles } from './place-files.js'
import { askMachine, runScript } from './run-script.js'

/** Files, and the units that read them. */
export interface ServiceSet {
  /** Task that owns the set; the marks of due restarts carry its name. */
  readonly owner: string
  readonly files: readonly PlacedFile[]
  readonly units: readonly ServiceUnit[]
  /** Units that earlier options or an earlier package needed; they must not exist. */
  readonly obsolete: readonly string[]
  /** Oneshot units of the set that must run again although none of their files changed. */
  readonly again?: readonly string[]
  /** Time that the units may take to start; the default is a quarter of an hour. */
  readonly startMs?: number
}

export interface ServiceUnit {
  /** Name with its suffix. */
  readonly name: string
  /** Paths among the files; a change to one of them restarts the unit. */
  readonly reads: readonly string[]
}

/** Returns the path of a unit that hydra-ops writes. */
export function unitPath(name: string): string {
  return `/etc/systemd/system/${name}`
}

/** Describes a unit file, or a configuration file that every user may read. */
export function publicFile(path: string, content: string): PlacedFile {
  return { path, content, mode: 0o644, user: 'root', group: 'root' }
}

export interface ServiceState {
  /** Whether none of the files exists. */
  readonly absent: boolean
  readonly wrong: readonly string[]
  readonly changedFiles: readonly PlacedFile[]
}

/** Compares the files and units of a set with those on the machine. */
export async function lookAtServices(host: Host, set: ServiceSet, run: Run): Promise<ServiceState> {
  const values = {
    marks: marksOf(set),
    files: set.files.map(({ path }) => path),
    units: set.units.map(({ name }) => name),
    obsolete: set.obsolete.map(unitPath),
  }
  const what = `look at the services of ${set.owner}`
  const facts = await askMachine(host, { what, script: 'services/look', values }, run)
  const files = facts.get('file') ?? []
  const units = facts.get('unit') ?? []
  const changedFiles = set.files.filter((file, index) => files[index] !== expected(file))
  const absent = set.files.every((_, index) => files[index] === '-')
  const wrong = [
    ...changedFiles.map(({ path }) => `${path} differs`),
    ...set.units.flatMap(({ name }, index) => wrongUnit(name, units[index] ?? '')),
    ...(facts.get('obsolete') ?? []).map((path) => `${path} is no longer needed`),
  ]
  return { absent, wrong, changedFiles }
}

function expected(file: PlacedFile): string {
  const hash = createHash('sha256').update(file.content).digest('hex')
  return `${hash} ${file.mode.toString(8)} ${file.user} ${file.group}`
}

function wrongUnit(name: string, seen: string): string[] {
  const [active = '', enabled = '', due = ''] = seen.split(' ')
  if (active !== 'active') return [`${name} is ${active}`]
  if (enabled !== 'enabled') return [`${name} is not started at boot`]
  return due === 'due' ? [`${name} was not restarted since its configuration changed`] : []
}

/**
 * Writes the files that differ and restarts exactly the units that read them. The machine keeps a mark of each due
 * restart, so that an interrupted run does not lose the restart. The marks are in /run, because a reboot restarts
 * everything.
 */
export async function convergeServices(host: Host, set: ServiceSet, run: Run): Promise<void> {
  const { changedFiles } = await lookAtServices(host, set, run)
  const changed = new Set(changedFiles.map(({ path }) => path))
  const due = set.units.filter(({ reads }) => reads.some((path) => changed.has(path))).map(({ name }) => name)
  if (due.length > 0) {
    const what = `mark the services of ${set.owner} for a restart`
    const values = { marks: marksOf(set), units: due }
    await runScript(host, { what, script: 'services/mark', values }, run)
  }
  await placeFiles(host, changedFiles, { run, what: `write the files of ${set.owner}` })
  const startMs = set.startMs ?? usualStartMs
  const values = {
    marks: marksOf(set),
    seconds: Math.ceil(startMs / 1_000),
    obsolete: set.obsolete,
    units: set.units.map(({ name }) => name),
    again: set.again ?? [],
  }
  const what = `start the services of ${set.owner}`
  const hint = `journalctl -u ${set.units[0]?.name ?? set.owner} on the machine shows more`
  const timeoutMs = startMs + scriptMs
  await runScript(host, { what, script: 'services/converge', values, hint, timeoutMs }, run)
}

/** Default of `startMs`: Hydra creates or migrates its database while one of its units starts. */
const usualStartMs = 900_000
/** Time for everything except the start of the units. */
const scriptMs = 120_000

/** Seconds that a unit must stay up: longer than its RestartSec, and longer than Perl needs to fail. */
const steadyFor = 15

/** Lists the units that are down or do not stay up, each as a sentence. */
export async function unsteadyUnits(host: Host, names: readonly string[], run: Run): Promise<string[]> {
  const question = {
    what: 'check that the services stay up',
    script: 'services/steady',
    values: { units: names, steady_for: steadyFor },
  }
  return [...((await askMachine(host, question, run)).get('wrong') ?? [])]
}

/**
 * Refuses to go on without a unit that NixOS defines. A boot after a failed deploy returns to the previous system, which
 * may lack the unit. Nothing is refused when systemd does not answer.
 */
export async function requireUnit(host: Host, unit: string, run: Run): Promise<void> {
  const argv = ['systemctl', 'show', '--property=LoadState', '--value', '--', unit]
  const result = await host.exec(argv, { signal: run.signal, timeoutMs: scriptMs, what: `look for ${unit}` })
  if (result.kind !== 'exited' || result.stdout.trim() !== 'not-found') return
  throw failure('NO_UNIT', `machine '${host.machine}': the running system has no ${unit}`, {
    machine: host.machine,
    hint: 'hydra-ops deploy activates the configuration; a boot after a failed deploy starts the previous system',
  })
}

/** Returns the folder on the machine that holds a mark for each unit whose restart is due. */
function marksOf({ owner }: ServiceSet): string {
  return `/run/hydra-ops/restart/${owner}`
}
