import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { type ProcessStat, pidNamespace, processStat, runsSince } from './process-facts.js'

/** The process that started a program. */
export interface Starter {
  readonly pid: number
  readonly startTime: string
  readonly pidNamespace: string
}

/** A running program that a hydra-ops process started. */
export interface StartedProgram {
  readonly name: string
  readonly pid: number
  readonly startTime: string
}

/**
 * The environment variable by which a later process recognizes the programs of a killed process. The value contains no
 * secret.
 */
const variable = 'HYDRA_OPS_STARTED_BY'

/**
 * Returns the environment variable that marks a program as started by this process. Daemons of the program inherit the
 * variable, so the value contains a digest of the program's own arguments. A daemon has different arguments, so the
 * mark does not fit the daemon. A host without /proc (macOS) gets no marks, because nothing could read them there.
 */
export function startedByUs([file = '', ...args]: readonly string[]): Record<string, string> {
  starter ??= thisProcess()
  if (starter === 'unknown') return {}
  const words = Buffer.from(args.join('\0'))
  return { [variable]: [...starterWords(starter), args.length, digest(words), basename(file)].join(' ') }
}

let starter: Starter | 'unknown' | undefined

function thisProcess(): Starter | 'unknown' {
  const stat = processStat(process.pid)
  if (stat === undefined) return 'unknown'
  return { pid: process.pid, startTime: stat.startTime, pidNamespace: pidNamespace() }
}

function starterWords({ pid, startTime, pidNamespace }: Starter) {
  return [pid, startTime, pidNamespace]
}

/** Results of one scan of the processes. */
export interface FoundPrograms {
  readonly programs: readonly StartedProgram[]
  /** Whether a process was too new to show its arguments; the next scan may find them. */
  readonly starting: boolean
}

/**
 * Finds the programs of a process, which may be dead. A program leads its session and has the marked arguments; its
 * children and daemons are left out. Nothing is found without /proc. Processes of other users cannot be read, and this
 * user's hydra-ops did not start them.
 */
export function programsOf(wanted: Starter, proc = '/proc'): FoundPrograms {
  const looks = pidsIn(proc).map((pid) => lookAt(pid, wanted, proc))
  return {
    programs: looks.flatMap((look) => (typeof look === 'object' ? [look] : [])),
    starting: looks.includes('starting'),
  }
}

/** Tells whether a program that was found earlier still runs. */
export function stillRuns({ pid, startTime }: StartedProgram, proc = '/proc'): boolean {
  return runsSince(startTime, processStat(pid, proc))
}

function lookAt(pid: number, wanted: Starter, proc: string): StartedProgram | 'starting' | undefined {
  const stat = processStat(pid, proc)
  if (stat === undefined || stat.session !== pid || !runsSince(stat.startTime, stat)) return undefined
  const environment = textOf(pid, 'environ', proc)
  const argv = textOf(pid, 'cmdline', proc)?.replace(/\0$/, '').split('\0')
  if (environment === undefined || argv === undefined) return undefined
  if (environment === '' && argv.join('') === '') return 'starting'
  const mark = environment.split('\0').find((each) => each.startsWith(`${variable}=`))
  const name = mark === undefined ? undefined : nameIn(mark.slice(variable.length + 1), wanted, argv)
  return name === undefined ? undefined : programAt(pid, name, stat)
}

function programAt(pid: number, name: string, { startTime }: ProcessStat): StartedProgram {
  return { pid, name: Buffer.from(name, 'latin1').toString(), startTime }
}

/** Returns the program's name if the mark matches this starter and these arguments. */
function nameIn(mark: string, wanted: Starter, argv: readonly string[]): string | undefined {
  const start = `${starterWords(wanted).join(' ')} `
  if (!mark.startsWith(start)) return undefined
  const [count = '', hash, ...words] = mark.slice(start.length).split(' ')
  const name = words.join(' ')
  const first = argv.length - Number(count)
  if (first < 1 || digest(Buffer.from(argv.slice(first).join('\0'), 'latin1')) !== hash) return undefined
  // A script may replace itself with another program that gets its arguments (`exec node main.mjs "$@"`). A single
  // matching argument proves too little.
  const isOurs = basename(argv[first - 1] ?? '') === name || (Number(count) > 1 && first <= 2)
  return isOurs ? name : undefined
}

function digest(words: Buffer): string {
  return createHash('sha256').update(words).digest('hex').slice(0, 16)
}

function pidsIn(proc: string): number[] {
  try {
    return readdirSync(proc).flatMap((name) => (/^[1-9]\d*$/.test(name) ? [Number(name)] : []))
  } catch {
    return []
  }
}

/** Reads a file of a process in /proc, one character for each byte. */
function textOf(pid: number, name: 'environ' | 'cmdline', proc: string): string | undefined {
  try {
    return readFileSync(join(proc, String(pid), name), 'latin1')
  } catch {
    return undefined
  }
}
