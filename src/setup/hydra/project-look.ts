import * as z from 'zod'
import type { ProjectsOptions } from '../../core/hydra-project-options.js'
import type { Run } from '../../core/run.js'
import type { Host } from '../../core/ssh.js'
import { askMachine, fact } from '../../remote/run-script.js'
import { SeenJobset, SeenProject, targetProject } from './project-state.js'
import { databaseValues } from './settings.js'
import { type HydraTable, type Unread, unread, unreadable } from './unread-table.js'

/** File that lists the projects and jobsets that the task created; the task removes no other projects and jobsets. */
export const madeFile = '/var/lib/hydra-ops/hydra-projects'

/** Content of the file `madeFile`. */
export interface Made {
  readonly projects: ReadonlySet<string>
  /** `PROJECT:JOBSET`, as Hydra writes the name. */
  readonly jobsets: ReadonlySet<string>
  /** One-shot jobsets that the task switched on, also as `PROJECT:JOBSET`. */
  readonly shots: ReadonlySet<string>
}

/** Content of Hydra that concerns the task. */
export interface ProjectsSeen {
  readonly made: Made
  /** Whether this Hydra supports private projects. */
  readonly knowsPrivate: boolean
  readonly projects: ReadonlyMap<string, SeenProject>
  /** Jobsets by `PROJECT:JOBSET`. */
  readonly jobsets: ReadonlyMap<string, SeenJobset>
}

const Rows = z.object({
  private: z.boolean(),
  projects: z.array(SeenProject),
  jobsets: z.array(SeenJobset),
})

/** Reads projects and jobsets from the database, which needs no password. */
export async function lookAtProjects(
  host: Host,
  table: HydraTable,
  projects: ProjectsOptions,
  run: Run,
): Promise<ProjectsSeen | Unread> {
  const values = {
    ...databaseValues(table.database, table.port),
    list: madeFile,
    projects: Object.keys(projects),
  }
  const question = { what: 'look at the projects of Hydra', script: 'tasks/hydra-projects/look', values }
  const facts = await askMachine(host, question, run)
  const made = parseMade(facts.get('made') ?? [])
  if (!facts.has('rows')) return unread(table, facts)
  const rows = Rows.parse(JSON.parse(fact(facts, 'rows')))
  return {
    made,
    knowsPrivate: rows.private,
    projects: new Map(rows.projects.map((each) => [each.name, each])),
    jobsets: new Map(rows.jobsets.map((each) => [fullName(each.project, each.name), each])),
  }
}

/** Reads projects and jobsets. Fails if the database cannot be read: an unreadable Hydra is not an empty Hydra. */
export async function requireProjects(
  host: Host,
  table: HydraTable,
  projects: ProjectsOptions,
  run: Run,
): Promise<ProjectsSeen> {
  const seen = await lookAtProjects(host, table, projects, run)
  if (!('unread' in seen)) return seen
  throw unreadable(host, 'projects', seen)
}

export function fullName(project: string, jobset: string): string {
  return `${project}:${jobset}`
}

/** Returns the project in a jobset's full name. */
export function projectOf(jobset: string): string {
  return jobset.slice(0, jobset.indexOf(':'))
}

function parseMade(lines: readonly string[]): Made {
  const words = lines.map((line) => line.split(' '))
  const names = (kind: string) =>
    new Set(words.flatMap(([first, ...rest]) => (first === kind ? [rest.join(':')] : [])))
  return { projects: names('project'), jobsets: names('jobset'), shots: names('shot') }
}

/** Writes the list in the format of the file `madeFile`. */
export function madeText({ projects, jobsets, shots }: Made): string {
  const lines = (kind: string, names: ReadonlySet<string>) =>
    [...names].sort().map((name) => `${kind} ${name.replace(':', ' ')}\n`)
  const head = '# Written by hydra-ops: the projects and jobsets that hydra-ops made, and may take away.\n'
  return [head, ...lines('project', projects), ...lines('jobset', jobsets), ...lines('shot', shots)].join('')
}

/** Names of projects, and of jobsets as `PROJECT:JOBSET`. */
export interface Gone {
  readonly projects: readonly string[]
  readonly jobsets: readonly string[]
}

/**
 * Finds the names of the list that neither Hydra nor the options have. A removal leaves such names behind if the
 * connection ends before the list is written. Another user may create a project or jobset of such a name later.
 */
export function forgotten({ made, projects, jobsets }: ProjectsSeen, options: ProjectsOptions): Gone {
  const isWanted = (jobset: string) => {
    const project = projectOf(jobset)
    const wanted = Object.hasOwn(options, project) ? options[project]?.jobsets : undefined
    return Object.hasOwn(wanted ?? {}, jobset.slice(project.length + 1))
  }
  return {
    projects: [...made.projects].filter((name) => !projects.has(name) && !Object.hasOwn(options, name)),
    jobsets: [...made.jobsets].filter((name) => !jobsets.has(name) && !isWanted(name)),
  }
}

/** Describes each name in the list that no longer exists in Hydra. */
export function listFaults(seen: ProjectsSeen, options: ProjectsOptions): string[] {
  const { projects, jobsets } = forgotten(seen, options)
  return [...projects.map((name) => `project '${name}'`), ...jobsets.map((name) => `jobset '${name}'`)].map(
    (name) => `${madeFile} names ${name}, which no longer exists`,
  )
}

/** Projects and jobsets that the task created, and that the options no longer name. */
export interface LeftOver extends Gone {
  /** Projects that stay, because they contain jobsets that the task did not create. */
  readonly shared: readonly string[]
}

/** Finds the task's results that the options no longer name. */
export function leftOver({ made, projects, jobsets }: ProjectsSeen, options: ProjectsOptions): LeftOver {
  const dropped = [...made.projects].filter((name) => projects.has(name) && !Object.hasOwn(options, name))
  const holdsOthers = (project: string) =>
    projects.get(project)?.declarative === undefined &&
    [...jobsets.keys()].some((jobset) => projectOf(jobset) === project && !made.jobsets.has(jobset))
  const gone = dropped.filter((name) => !holdsOthers(name))
  // A removal follows the changes, which may make a project declarative or stop it from being declarative.
  const isDeclarative = (project: string) => {
    const before = projects.get(project)
    const wanted = Object.hasOwn(options, project) ? options[project] : undefined
    const after = wanted === undefined ? before : targetProject(project, wanted, before, '')
    return after?.declarative !== undefined
  }
  return {
    projects: gone,
    shared: dropped.filter(holdsOthers),
    jobsets: [...made.jobsets].filter((jobset) => {
      const project = projectOf(jobset)
      // Hydra itself manages the jobsets of a declarative project, and refuses every change to them.
      if (!jobsets.has(jobset) || gone.includes(project) || isDeclarative(project)) return false
      return !Object.hasOwn(options[project]?.jobsets ?? {}, jobset.slice(project.length + 1))
    }),
  }
}

/** Describes the leftovers in one sentence; undefined if there are none. */
export function leftOverText({ projects, jobsets, shared }: LeftOver): string | undefined {
  const names = [...projects.map((name) => `project '${name}'`), ...jobsets.map((name) => `jobset '${name}'`)]
  if (names.length === 0) return undefined
  const stays = shared.map(
    (name) => `; project '${name}' stays, because it holds jobsets that hydra-ops did not create`,
  )
  return `no longer in the expression: ${names.join(', ')}${stays.join('')}`
}
