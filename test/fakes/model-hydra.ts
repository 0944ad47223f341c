import type { HttpAnswer } from '../../src/core/http-request.js'
import type { HydraWay } from '../../src/hydra/way.js'

/** A job of a modelled evaluation. */
export interface ModelBuild {
  readonly id: number
  /** Hydra's numeric build status; absent for a build that is not finished. */
  readonly status?: number
  /** Output path; absent for the usual path. */
  readonly path?: string | null
  /** Jobs of the same evaluation that this aggregate consists of. */
  readonly parts?: readonly string[]
  readonly system?: string
}

export interface ModelEvaluation {
  readonly id: number
  /** Time of the evaluation in seconds; `null` for a Hydra that does not know the time. */
  readonly timestamp?: number | null
  readonly revision?: string
  readonly jobs: Readonly<Record<string, ModelBuild>>
}

/** An answer in place of the model's own. */
interface GivenPage {
  readonly status?: number
  readonly body: unknown
  /** Whether the body is plain text instead of JSON. */
  readonly text?: boolean
}

const page = 20

/** Returns the usual path of a job's result. */
export function pathOf(job: string, id: number): string {
  return `/nix/store/${String(id).padStart(32, '0')}-${job}`
}

/**
 * Models a Hydra with the jobset `infra:main`, as recorded on a real Hydra. The model has pages of 20 evaluations,
 * absolute redirects, and error texts for missing objects.
 */
export class ModelHydra implements HydraWay {
  readonly asked: string[] = []
  readonly url: string
  /** Evaluations, newest first. */
  evaluations: ModelEvaluation[]
  /** Pages whose answers differ from the model's, by path. */
  readonly pages = new Map<string, GivenPage>()

  constructor(evaluations: readonly ModelEvaluation[], url = 'http://hydra.example.org') {
    this.evaluations = [...evaluations]
    this.url = url
  }

  async request(method: string, path: string): Promise<HttpAnswer> {
    this.asked.push(path)
    const given = this.pages.get(path)
    if (given?.text === true) return plainText(String(given.body))
    if (given !== undefined) return reply(given.status ?? 200, given.body)
    if (method !== 'GET') return reply(405, { error: 'Request must be POSTed.' })
    return this.answer(new URL(path, this.url))
  }

  private answer({ pathname, searchParams }: URL): HttpAnswer {
    const [, kind = '', a = '', b = '', c = '', d = ''] = pathname.split('/')
    const rest = pathname.split('/').slice(2).join('/')
    if (pathname === '/') return reply(200, [this.project()])
    if (kind === 'project') {
      return a === 'infra' ? reply(200, this.project()) : missing(`Project ‘${a}’ doesn't exist.`)
    }
    if (kind === 'jobset' || kind === 'job') {
      if (a !== 'infra' || b !== 'main') return missing(`Jobset ‘${b}’ doesn't exist.`)
      if (kind === 'job') return this.latest(c, d)
      return c === 'evals' ? this.evaluationPage(Number(searchParams.get('page') ?? 1)) : reply(200, jobset)
    }
    if (kind === 'eval') return this.evaluationAnswer(Number(a), b, c)
    if (kind === 'build') return this.buildAnswer(Number(a), b)
    return missing(`no page ${rest}`)
  }

  private project() {
    return { name: 'infra', jobsets: ['main'], enabled: true, hidden: false }
  }

  private evaluationPage(number: number): HttpAnswer {
    const last = Math.max(1, Math.ceil(this.evaluations.length / page))
    const evals = this.evaluations.slice((number - 1) * page, number * page).map(evaluationView)
    const next = number < last ? { next: `?page=${number + 1}` } : {}
    return reply(200, { evals, first: '?page=1', last: `?page=${last}`, ...next })
  }

  private evaluationAnswer(id: number, what: string, job: string): HttpAnswer {
    const evaluation = this.evaluations.find((each) => each.id === id)
    if (evaluation === undefined) return missing(`Evaluation ${id} doesn't exist.`)
    if (what === 'builds')
      return reply(
        200,
        Object.keys(evaluation.jobs).flatMap((name) => this.view(evaluation, name)),
      )
    if (what !== 'job') return reply(200, evaluationView(evaluation))
    const build = evaluation.jobs[job]
    return build === undefined
      ? missing('This evaluation has no job with the specified name.')
      : this.moved(`/build/${build.id}`)
  }

  private buildAnswer(id: number, what: string): HttpAnswer {
    for (const evaluation of this.evaluations) {
      for (const [job, build] of Object.entries(evaluation.jobs)) {
        if (build.id !== id) continue
        if (what === 'constituents')
          return reply(
            200,
            (build.parts ?? []).flatMap((part) => this.view(evaluation, part)),
          )
        return reply(200, this.view(evaluation, job)[0])
      }
    }
    return missing(`Build with ID ${id} doesn't exist.`)
  }

  private latest(job: string, how: string): HttpAnswer {
    for (const { jobs } of this.evaluations) {
      const whole = Object.values(jobs).every(({ status }) => status !== undefined)
      const build = jobs[job]
      if (build?.status === 0 && (how === 'latest' || whole)) return this.moved(`/build/${build.id}`)
    }
    return missing('There is no successful build to redirect to.')
  }

  private moved(path: string): HttpAnswer {
    return { ...reply(302, ''), headers: { location: `${this.url}${path}` }, body: '<html>moved</html>' }
  }

  private view(evaluation: ModelEvaluation, job: string) {
    const build = evaluation.jobs[job]
    if (build === undefined) return []
    const { id, status, path, system = 'x86_64-linux' } = build
    return [
      {
        id,
        job,
        system,
        project: 'infra',
        jobset: 'main',
        nixname: job,
        finished: status === undefined ? 0 : 1,
        buildstatus: status ?? null,
        timestamp: evaluation.timestamp ?? 0,
        starttime: null,
        stoptime: null,
        drvpath: `${pathOf(job, id)}.drv`,
        buildoutputs: { out: { path: path === undefined ? pathOf(job, id) : path } },
        jobsetevals: this.evaluations.flatMap(({ id: each, jobs }) => (jobs[job]?.id === id ? [each] : [])),
      },
    ]
  }
}

const jobset = {
  name: 'main',
  project: 'infra',
  enabled: 1,
  errormsg: '',
  fetcherrormsg: '',
  errortime: null,
  triggertime: null,
  starttime: null,
  lastcheckedtime: 1_700_000_000,
}

function evaluationView({ id, timestamp, revision, jobs }: ModelEvaluation) {
  return {
    id,
    timestamp: timestamp === undefined ? 1_700_000_000 : timestamp,
    hasnewbuilds: 1,
    flake: null,
    jobsetevalinputs: {
      network: {
        type: 'git',
        uri: 'https://git.example.org/network',
        value: null,
        revision: revision ?? null,
      },
    },
    builds: Object.values(jobs).map((each) => each.id),
  }
}

function plainText(body: string): HttpAnswer {
  return { status: 200, headers: { 'content-type': 'text/plain' }, body, bytes: Buffer.from(body) }
}

function missing(error: string): HttpAnswer {
  return reply(404, { error })
}

function reply(status: number, value: unknown): HttpAnswer {
  const body = JSON.stringify(value)
  return { status, headers: { 'content-type': 'application/json' }, body, bytes: Buffer.from(body) }
}
