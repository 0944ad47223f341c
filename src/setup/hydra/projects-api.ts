import type { z } from 'zod'
import { failure } from '../../core/errors.js'
import { type HttpAnswer, json, refusal } from '../../core/http-request.js'
import { jobsetBody, projectBody, SeenJobset, SeenProject } from './project-state.js'
import type { WebSession } from './web-session.js'

/** Access to projects and jobsets in Hydra's API. */
export class ProjectsApi {
  private readonly machine: string
  private readonly session: WebSession

  constructor(machine: string, session: WebSession) {
    this.machine = machine
    this.session = session
  }

  /** Reads a project; returns undefined if there is none. */
  readProject(name: string): Promise<SeenProject | undefined> {
    return this.read(`project '${name}'`, `/project/${name}`, SeenProject)
  }

  /** Reads a jobset; returns undefined if there is none. */
  readJobset(project: string, name: string): Promise<SeenJobset | undefined> {
    return this.read(`jobset '${project}:${name}'`, `/jobset/${project}/${name}`, SeenJobset)
  }

  async writeProject(project: SeenProject): Promise<void> {
    await this.change('PUT', `project '${project.name}'`, `/project/${project.name}`, projectBody(project))
  }

  async writeJobset(jobset: SeenJobset): Promise<void> {
    const { project, name } = jobset
    await this.change('PUT', `jobset '${project}:${name}'`, `/jobset/${project}/${name}`, jobsetBody(jobset))
  }

  removeProject(name: string): Promise<void> {
    return this.change('DELETE', `project '${name}'`, `/project/${name}`)
  }

  removeJobset(project: string, name: string): Promise<void> {
    return this.change('DELETE', `jobset '${project}:${name}'`, `/jobset/${project}/${name}`)
  }

  private async read<T>(what: string, path: string, schema: z.ZodType<T>): Promise<T | undefined> {
    const answer = await this.session.request('GET', path)
    // Hydra redirects from a renamed jobset to its new name; the old name is free then.
    if (answer.status === 404 || answer.status === 301) return undefined
    const parsed = answer.status === 200 ? schema.safeParse(json(answer)) : undefined
    if (parsed?.success === true) return parsed.data
    throw this.refused(
      'read',
      what,
      answer,
      parsed === undefined ? undefined : 'the answer has an unexpected form',
    )
  }

  private async change(method: 'PUT' | 'DELETE', what: string, path: string, body?: unknown): Promise<void> {
    const answer = await this.session.request(method, path, body)
    if (answer.status === 200 || answer.status === 201) return
    // A second removal succeeds, because the project or jobset is already gone.
    if (method === 'DELETE' && answer.status === 404) return
    throw this.refused(method === 'PUT' ? 'change' : 'remove', what, answer)
  }

  private refused(verb: string, what: string, answer: HttpAnswer, why?: string): Error {
    return failure(
      'HYDRA_API',
      `machine '${this.machine}': Hydra does not let hydra-ops ${verb} ${what}: ${why ?? refusal(answer)}`,
      { machine: this.machine, hint: hintFor(answer) },
    )
  }
}

function hintFor({ status, body }: HttpAnswer): string {
  if (body.includes('does not exist'))
    return 'deployment.hydra.users creates users; owner must name an existing user'
  if (body.includes('Dynamic RunCommand'))
    return 'hydra.conf no longer allows dynamic commands (dynamicruncommand); switch them off in the project first'
  if (status >= 500 || status < 400) return 'journalctl -u hydra-server on the machine shows more'
  return 'hydra-ops deploy tries again'
}
