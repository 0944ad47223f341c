import { failure } from '../../core/errors.js'
import { type JobsetOptions, type ProjectsOptions, serviceUser } from '../../core/hydra-project-options.js'
import type { Run } from '../../core/run.js'
import type { SetupTask, TaskMachine, TaskRun, TaskState } from '../../core/setup-task.js'
import type { Host } from '../../core/ssh.js'
import { placeFiles } from '../../remote/place-files.js'
import { publicFile } from '../../remote/services.js'
import { findClusters, requireCluster } from '../postgresql/cluster.js'
import {
  forgotten,
  fullName,
  type Gone,
  leftOver,
  leftOverText,
  listFaults,
  lookAtProjects,
  type Made,
  madeFile,
  madeText,
  type ProjectsSeen,
  projectOf,
  requireProjects,
} from './project-look.js'
import { differences, isOff, isOneShot, targetJobset, targetProject } from './project-state.js'
import { ProjectsApi } from './projects-api.js'
import { type ProjectsLogin, signIn } from './projects-login.js'
import { type HydraSettings, oneShotSettings, reachedAt, webEntrance } from './settings.js'
import { WebSession } from './web-session.js'
import { untilServed } from './web-start.js'
import { passwordOf, usersOf } from './web-users-task.js'

export interface ProjectsTaskOptions extends ProjectsLogin {
  readonly database: string
  readonly projects: ProjectsOptions
  /** Owner of new projects; undefined means the user who signs in. */
  readonly owner: string | undefined
}

/** Hydra's projects with their jobsets. The task does not touch projects and jobsets that the options do not name. */
export const hydraProjectsTask: SetupTask<ProjectsTaskOptions> = {
  id: 'hydra-projects',
  title: 'projects and jobsets of Hydra',
  after: ['hydra', 'nginx', 'admin-user'],
  stage: 'configure',
  debianPackages: () => [],
  wanted(machine) {
    const settings = oneShotSettings(machine, 'hydra-projects')
    const projects = settings?.options.projects
    if (settings === undefined || projects == null) return undefined
    const { options } = settings
    const admin = options.admin?.roles.includes('admin') === true ? options.admin.userName : undefined
    return {
      entrance: webEntrance(settings),
      package: options.package ?? undefined,
      server: { address: reachedAt(options.listenHost), port: options.port },
      admin: adminAtHand(machine, settings),
      database: options.database.name,
      projects,
      owner: admin,
    }
  },
  owns: () => [{ path: madeFile, instead: 'a file with another name in the same folder' }],
  secrets: ({ admin }) => (admin === undefined ? [] : [admin.password]),
  probe: probeProjects,
  apply: applyProjects,
  verify: verifyProjects,
}

/** Finds an administrator in the options whose password no person must type. */
function adminAtHand(machine: TaskMachine, settings: HydraSettings): ProjectsLogin['admin'] {
  // A service of the machine creates the users if `admin-user` does not apply. The options then have no passwords.
  if (oneShotSettings(machine, 'admin-user') === undefined) return undefined
  const admin = usersOf(settings).find(({ roles, password }) => roles.includes('admin') && !password.prompt)
  return admin === undefined ? undefined : { name: admin.name, password: passwordOf(admin) }
}

async function probeProjects(host: Host, options: ProjectsTaskOptions, run: Run): Promise<TaskState> {
  const [cluster] = await findClusters(host, options.database, run)
  if (cluster === undefined || !cluster.online) return 'needed'
  const table = { database: options.database, port: cluster.port }
  const seen = await lookAtProjects(host, table, options.projects, run)
  if ('unread' in seen) return 'needed'
  const faults = listFaults(seen, options.projects)
  const wrong = [...plannedChanges(options, seen).map(({ say }) => say), ...faults]
  const gone = leftOverText(leftOver(seen, options.projects))
  const more = gone === undefined ? {} : { leftOver: gone }
  if (wrong.length === 0) return gone === undefined ? 'done' : { leftOver: gone }
  const anything = Object.keys(options.projects).some((name) => seen.projects.has(name))
  return anything || gone !== undefined || faults.length > 0
    ? { drifted: wrong.join('; '), ...more }
    : 'needed'
}

/** A project or a jobset that differs from the options, with a description; `jobset` is undefined for a project. */
interface Change {
  readonly project: string
  readonly jobset: string | undefined
  readonly isNew: boolean
  readonly say: string
}

function plannedChanges(options: ProjectsTaskOptions, seen: ProjectsSeen): Change[] {
  return Object.entries(options.projects).flatMap(([project, each]) => [
    ...projectChange(options, seen, project),
    ...Object.entries(each.jobsets).flatMap(([jobset, wanted]) =>
      jobsetChange(seen, { project, jobset }, wanted),
    ),
  ])
}

function projectChange(options: ProjectsTaskOptions, seen: ProjectsSeen, project: string): Change[] {
  const wanted = options.projects[project]
  const before = seen.projects.get(project)
  if (wanted === undefined) return []
  const at = { project, jobset: undefined }
  if (before === undefined) return [{ ...at, isNew: true, say: `project '${project}' does not exist` }]
  const names = differences(targetProject(project, wanted, before, options.owner ?? before.owner), before)
  return names.length === 0
    ? []
    : [{ ...at, isNew: false, say: `project '${project}' differs (${names.join(', ')})` }]
}

function jobsetChange(
  { jobsets, made }: ProjectsSeen,
  { project, jobset }: { readonly project: string; readonly jobset: string },
  wanted: JobsetOptions,
): Change[] {
  const name = fullName(project, jobset)
  const before = jobsets.get(name)
  const at = { project, jobset }
  if (before === undefined) return [{ ...at, isNew: true, say: `jobset '${name}' does not exist` }]
  const names = differences(
    targetJobset({ project, name: jobset }, wanted, before, made.shots.has(name)),
    before,
  )
  return names.length === 0
    ? []
    : [{ ...at, isNew: false, say: `jobset '${name}' differs (${names.join(', ')})` }]
}

async function applyProjects(
  host: Host,
  options: ProjectsTaskOptions,
  run: TaskRun,
): Promise<Record<string, string>> {
  await untilServed(host, options.entrance, run)
  const { port } = await requireCluster(host, options.database, run)
  const table = { database: options.database, port }
  const seen = await requireProjects(host, table, options.projects, run)
  refusePrivate(host, options, seen)
  const changes = plannedChanges(options, seen)
  const gone = run.prune ? leftOver(seen, options.projects) : { projects: [], jobsets: [], shared: [] }
  const outputs = { projects: Object.keys(options.projects).join(', '), url: options.entrance.url }
  const fired = changes.filter((change) => isShot(options, change))
  const known = withNew(without(seen.made, forgotten(seen, options.projects)), changes)
  // Hydra itself switches a fired jobset off. Only a jobset that is already off looks the same before and after.
  const early = fired.filter(
    ({ project, jobset = '' }) => !isOff(seen.jobsets.get(fullName(project, jobset))),
  )
  const made = withShots(known, options, early)
  // The list is written before the changes. A crash then leaves nothing in Hydra without a record, and no new jobset
  // fires twice.
  await placeMade(host, seen.made, made, run)
  const after = without(withShots(made, options, fired), gone)
  if (changes.length > 0 || gone.projects.length + gone.jobsets.length > 0) {
    const session = await signIn(host, options, table, run)
    try {
      const api = new ProjectsApi(host.machine, session)
      for (const change of changes) await makeChange(api, options, seen, change, run)
      await remove(api, gone, run)
    } finally {
      await session.logout()
    }
  }
  await placeMade(host, made, after, run)
  return outputs
}

/** Writes one project or jobset. The request replaces every value, so the current values are read first. */
async function makeChange(
  api: ProjectsApi,
  options: ProjectsTaskOptions,
  seen: ProjectsSeen,
  { project, jobset, say }: Change,
  run: TaskRun,
): Promise<void> {
  const wanted = options.projects[project]
  if (wanted === undefined) return
  run.log(`changing Hydra: ${say}`)
  if (jobset === undefined) {
    const read = await api.readProject(project)
    // The API does not show whether a project is private.
    const before = read && { ...read, private: seen.projects.get(project)?.private ?? read.private }
    const owner = options.owner ?? before?.owner ?? serviceUser
    await api.writeProject(targetProject(project, wanted, before, owner))
    return
  }
  const each = wanted.jobsets[jobset]
  if (each === undefined) return
  const before = await api.readJobset(project, jobset)
  const fired = seen.made.shots.has(fullName(project, jobset))
  await api.writeJobset(targetJobset({ project, name: jobset }, each, before, fired))
}

async function remove(api: ProjectsApi, gone: Gone, run: TaskRun): Promise<void> {
  for (const jobset of gone.jobsets) {
    run.log(`removing jobset '${jobset}' with its builds`)
    const project = projectOf(jobset)
    await api.removeJobset(project, jobset.slice(project.length + 1))
  }
  for (const project of gone.projects) {
    run.log(`removing project '${project}' with its builds`)
    await api.removeProject(project)
  }
}

/** Refuses a private project if this Hydra would show the project to everybody. */
function refusePrivate(host: Host, { projects }: ProjectsTaskOptions, seen: ProjectsSeen): void {
  const [name] = Object.keys(projects).filter((each) => projects[each]?.private === true)
  if (name === undefined || seen.knowsPrivate) return
  throw failure(
    'HYDRA_API',
    `machine '${host.machine}': this Hydra does not support private projects, and would show project '${name}' to everybody`,
    {
      machine: host.machine,
      hint: `remove deployment.hydra.projects.${name}.private; "private = 1" in deployment.hydra.extraConfig makes the whole Hydra private`,
    },
  )
}

function withNew(made: Made, changes: readonly Change[]): Made {
  const created = changes.filter(({ isNew }) => isNew)
  return {
    ...made,
    projects: new Set([
      ...made.projects,
      ...created.flatMap(({ project, jobset }) => (jobset === undefined ? [project] : [])),
    ]),
    jobsets: new Set([
      ...made.jobsets,
      ...created.flatMap(({ project, jobset }) => (jobset === undefined ? [] : [fullName(project, jobset)])),
    ]),
  }
}

function without(made: Made, gone: Gone): Made {
  const stays = (jobset: string) =>
    !gone.projects.includes(projectOf(jobset)) && !gone.jobsets.includes(jobset)
  return {
    projects: new Set([...made.projects].filter((name) => !gone.projects.includes(name))),
    jobsets: new Set([...made.jobsets].filter(stays)),
    shots: new Set([...made.shots].filter(stays)),
  }
}

/** Tells whether the change concerns a jobset that is evaluated only once. */
function isShot({ projects }: ProjectsTaskOptions, { project, jobset }: Change): boolean {
  const wanted = jobset === undefined ? undefined : projects[project]?.jobsets[jobset]
  return wanted !== undefined && isOneShot(wanted)
}

/** Adds switched-on one-shot jobsets. Drops other kinds of jobsets, which may be switched on again later. */
function withShots(made: Made, { projects }: ProjectsTaskOptions, fired: readonly Change[]): Made {
  const names = new Set(fired.map(({ project, jobset = '' }) => fullName(project, jobset)))
  const wanted = Object.entries(projects).flatMap(([project, { jobsets }]) =>
    Object.entries(jobsets).flatMap(([jobset, each]) => (isOneShot(each) ? [fullName(project, jobset)] : [])),
  )
  return { ...made, shots: new Set(wanted.filter((name) => names.has(name) || made.shots.has(name))) }
}

async function placeMade(host: Host, before: Made, after: Made, run: Run): Promise<void> {
  if (madeText(before) === madeText(after)) return
  await placeFiles(host, [publicFile(madeFile, madeText(after))], {
    run,
    what: 'write the list of projects that hydra-ops created',
  })
}

/** Compares the options with what Hydra shows at the users' URL. */
async function verifyProjects(host: Host, options: ProjectsTaskOptions, run: TaskRun): Promise<void> {
  await untilServed(host, options.entrance, run)
  const { port } = await requireCluster(host, options.database, run)
  const table = { database: options.database, port }
  const seen = await requireProjects(host, table, options.projects, run)
  const session = await reader(host, options, table, run)
  try {
    const api = new ProjectsApi(host.machine, session)
    const projects = new Map(seen.projects)
    const jobsets = new Map(seen.jobsets)
    for (const [project, { jobsets: wanted }] of Object.entries(options.projects)) {
      const read = await api.readProject(project)
      const isPrivate = seen.projects.get(project)?.private ?? false
      if (read === undefined) projects.delete(project)
      else projects.set(project, { ...read, private: isPrivate })
      for (const jobset of Object.keys(wanted)) {
        const found = await api.readJobset(project, jobset)
        if (found === undefined) jobsets.delete(fullName(project, jobset))
        else jobsets.set(fullName(project, jobset), found)
      }
    }
    const wrong = plannedChanges(options, { ...seen, projects, jobsets })
    if (wrong.length === 0) return
    throw failure(
      'HYDRA_API',
      `machine '${host.machine}': Hydra's projects differ from the options: ${wrong.map(({ say }) => say).join('; ')}`,
      { machine: host.machine, hint: 'hydra-ops setup run hydra-projects tries again' },
    )
  } finally {
    await session.logout()
  }
}

/** Reads without a login, unless Hydra shows its pages only to users who are signed in. */
async function reader(
  host: Host,
  options: ProjectsTaskOptions,
  table: { readonly database: string; readonly port: number },
  run: TaskRun,
): Promise<WebSession> {
  const anonymous = new WebSession(options.entrance, run)
  const closed = Object.values(options.projects).some((project) => project.private === true)
  const answer = closed ? undefined : await anonymous.request('GET', '/')
  return answer === undefined || answer.status === 403 ? signIn(host, options, table, run) : anonymous
}
