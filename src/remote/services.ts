import { createHash } from 'node:crypto'
import type { Run } from '../core/run.js'
import type { Host } from '../core/ssh.js'
import { type PlacedFile, placeFiles } from './place-files.js'
import { askMachine, runScript } from './run-script.js'

/** Files and the units that live by them. */
export interface ServiceSet {
  /** The task that owns them; names the marks of restarts that are due. */
  readonly owner: string
  readonly files: readonly PlacedFile[]
  readonly units: readonly ServiceUnit[]
  /** Units that an earlier version of the options or of the package had. */
  readonly obsolete: readonly string[]
  /** Units among them that do their work once and are to do it again, though nothing of theirs changed. */
  readonly again?: readonly string[]
  /** How long they may take to start; by default a quarter of an hour. */
  readonly startMs?: number
}

export interface ServiceUnit {
  /** With its suffix. */
  readonly name: string
  /** Paths among the files: when one of them changes, the unit is restarted. */
  readonly reads: readonly string[]
}

/** Where units of ours lie. */
export function unitPath(name: string): string {
  return `/etc/systemd/system/${name}`
}

/** A unit file, or a file of the configuration that everybody may read. */
export function publicFile(path: string, content: string): PlacedFile {
  return { path, content, mode: 0o644, user: 'root', group: 'root' }
}

export interface ServiceState {
  /** None of the files is there. */
  readonly absent: boolean
  readonly wrong: readonly string[]
  readonly changedFiles: readonly PlacedFile[]
}

/** How the files and units of a set are found on the machine. */
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
    ...(facts.get('obsolete') ?? []).map((path) => `${path} is not wanted any more`),
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
 * Writes what differs and restarts exactly the units that live by it. That a restart is due is kept on the machine
 * (in /run: a reboot restarts everything), so that it is not forgotten when we are cut off in between.
 */
export async function convergeServices(host: Host, set: ServiceSet, run: Run): Promise<void> {
  const { changedFiles } = await lookAtServices(host, set, run)
  const changed = new Set(changedFiles.map(({ path }) => path))
  const due = set.units.filter(({ reads }) => reads.some((path) => changed.has(path))).map(({ name }) => name)
  if (due.length > 0) {
    const what = `note that services of ${set.owner} must restart`
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
  const hint = `journalctl -u ${set.units[0]?.name ?? set.owner} on the machine says more`
  const timeoutMs = startMs + scriptMs
  await runScript(host, { what, script: 'services/converge', values, hint, timeoutMs }, run)
}

/** Hydra's database is made, or migrated, while one of them starts. */
const usualStartMs = 900_000
/** For everything but the start itself. */
const scriptMs = 120_000

/** In seconds. More than the units' RestartSec, and than Perl takes to find out that it cannot work. */
const steadyFor = 15

/** Names the units that are not up or do not stay up, each in a sentence. */
export async function unsteadyUnits(host: Host, names: readonly string[], run: Run): Promise<string[]> {
  const question = {
    what: 'see whether the services stay up',
    script: 'services/steady',
    values: { units: names, steady_for: steadyFor },
  }
  return [...((await askMachine(host, question, run)).get('wrong') ?? [])]
}

/** The folder on the machine with a mark for each unit whose restart is due. */
function marksOf({ owner }: ServiceSet): string {
  return `/run/hydra-ops/restart/${owner}`
}
