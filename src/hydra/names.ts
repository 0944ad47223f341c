import { usageError } from '../core/errors.js'

/** Name of a jobset, and optionally of one of its jobs. */
export interface JobsetName {
  readonly project: string
  readonly jobset: string
}

export interface JobName extends JobsetName {
  readonly job: string
}

const name = '[A-Za-z_][A-Za-z0-9_-]*'
const jobset = `(?:\\.jobsets|${name})`
const job = '[A-Za-z_][A-Za-z0-9_.-]*'

/** Parses `PROJECT`, `PROJECT:JOBSET` or `PROJECT:JOBSET:JOB`. */
export function readPlace(text: string): {
  readonly project: string
  readonly jobset?: string
  readonly job?: string
} {
  const found = new RegExp(`^(${name})(?::(${jobset})(?::(${job}))?)?$`).exec(text)
  if (found === null)
    throw usageError(`'${text}' is not a project, jobset or job of Hydra`, {
      hint: 'write PROJECT, PROJECT:JOBSET or PROJECT:JOBSET:JOB',
    })
  const [, project = '', set, one] = found
  return {
    project,
    ...(set === undefined ? {} : { jobset: set }),
    ...(one === undefined ? {} : { job: one }),
  }
}

/** Parses `PROJECT:JOBSET:JOB`. */
export function readJob(text: string): JobName {
  const { project, jobset: set, job: one } = readPlace(text)
  if (set === undefined || one === undefined)
    throw usageError(`'${text}' is not a job of Hydra`, { hint: 'write PROJECT:JOBSET:JOB' })
  return { project, jobset: set, job: one }
}

/**
 * Parses `URL/job/PROJECT/JOBSET` or `URL/job/PROJECT/JOBSET/JOB`, as a browser shows it; `jobset` may stand for `job`.
 */
export function readJobsetUrl(text: string): JobsetName & { readonly url: string; readonly job?: string } {
  const found = new RegExp(`^(https?://[^?#]+?)/(?:job|jobset)/(${name})/(${jobset})(?:/(${job}))?/*$`).exec(
    text,
  )
  // A password in a URL would appear in process lists, logs and records.
  if (found === null || !URL.canParse(found[1] ?? '') || /\/\/[^/]*@/.test(text)) {
    throw usageError(`'${withoutPassword(text)}' is not the URL of a jobset`, {
      hint: 'write URL/job/PROJECT/JOBSET, such as https://hydra.example.org/job/infra/main',
    })
  }
  const [, base = '', project = '', set = '', one] = found
  return { url: base, project, jobset: set, ...(one === undefined ? {} : { job: one }) }
}

function withoutPassword(text: string): string {
  return text.replace(/\/\/[^/@]*@/, '//')
}

export function jobsetPath({ project, jobset: set }: JobsetName): string {
  return `/jobset/${project}/${set}`
}

export function jobPath({ project, jobset: set, job: one }: JobName): string {
  return `/job/${project}/${set}/${one}`
}
