import { z } from 'zod'
import type { Json } from '../../src/core/json.js'
import { type Recording, valuesBelow } from './recordings.js'

const buildSchema = z.object({
  id: z.number(),
  project: z.string(),
  jobset: z.string(),
  job: z.string(),
  nixname: z.string(),
  system: z.string(),
  // The queue's lists leave these two columns out.
  drvpath: z.string().nullable(),
  priority: z.number().nullable(),
  finished: z.number(),
  timestamp: z.number(),
  buildstatus: z.number().nullable(),
  starttime: z.number().nullable(),
  stoptime: z.number().nullable(),
  releasename: z.string().nullable(),
  buildoutputs: z.record(z.string(), z.object({ path: z.string() })),
  buildproducts: z.record(z.string(), z.record(z.string(), z.union([z.string(), z.number(), z.null()]))),
  buildmetrics: z.record(z.string(), z.object({ unit: z.string().nullable(), value: z.number() })),
})
type Build = z.infer<typeof buildSchema>

const evalSchema = z.object({
  id: z.number(),
  timestamp: z.number(),
  checkouttime: z.number(),
  evaltime: z.number(),
  flake: z.string().nullable(),
  hasnewbuilds: z.number(),
  builds: z.array(z.number()),
  jobsetevalinputs: z.record(
    z.string(),
    z.object({
      type: z.string(),
      uri: z.string().nullable(),
      revision: z.string().nullable(),
      value: z.string().nullable(),
      dependency: z.null(),
    }),
  ),
})
type Evaluation = z.infer<typeof evalSchema>

/** An evaluation in the recording's database, with its project and jobset. */
export interface EvalPlace {
  readonly id: number
  readonly project: string
  readonly jobset: string
  /** Whether the evaluation's builds are the current builds of the jobset. */
  readonly isCurrent?: boolean
}

/** Facts about builds that no answer shows, but that some answers depend on. */
export interface Unseen {
  /** The constituents of each aggregate, by the id of its build. */
  readonly constituents: Readonly<Record<number, readonly number[]>>
  /** The builds with a step in progress. */
  readonly busy: readonly number[]
  /**
   * The number of failed builds of each evaluation, because answers show only counts. The builds with the lowest ids
   * fail.
   */
  readonly failed: Readonly<Record<number, number>>
  readonly size: number
}

/**
 * Reconstructs database rows from the recorded answers. The rows of the recorded Hydra were written by hand
 * (`rows.sql`), except the rows of the project `live`.
 */
export function rowsOf(
  recordings: Iterable<Recording>,
  places: readonly EvalPlace[],
  unseen: Unseen,
): string {
  const values = [...recordings].flatMap(({ response }) => [...valuesBelow(response.body)])
  const evaluations = places.map((place) => ({ place, row: found(evalSchema, values, place.id) }))
  const wanted = new Set(evaluations.flatMap(({ row }) => row.builds))
  const known = new Map(
    values
      .flatMap((value) => buildSchema.safeParse(value).data ?? [])
      .filter(({ id }) => wanted.has(id))
      // The map keeps the last row of an id, so the first answer with all details is sorted last.
      .sort((a, b) => Number(a.drvpath !== null) - Number(b.drvpath !== null) || -1)
      .map((build) => [build.id, build]),
  )
  const current = new Set(evaluations.filter(({ place }) => place.isCurrent).flatMap(({ row }) => row.builds))
  const builds = evaluations.flatMap(({ place, row }) =>
    [...row.builds]
      .sort((a, b) => a - b)
      .map((id, at) => known.get(id) ?? placeholder(id, place, row, at < (unseen.failed[place.id] ?? 0))),
  )
  const unique = [...new Map(builds.map((build) => [build.id, build])).values()]
  return [
    ...unique.map((build) => buildRows(build, current.has(build.id), unseen)),
    ...evaluations.map(({ place, row }) => evalRows(place, row)),
    ...Object.entries(unseen.constituents).flatMap(([aggregate, parts]) =>
      parts.map((part) =>
        insert('aggregateconstituents', { aggregate: Number(aggregate), constituent: part }),
      ),
    ),
    "select setval('builds_id_seq', (select max(id) from builds)), setval('jobsetevals_id_seq', (select max(id) from jobsetevals));",
  ].join('\n')
}

function found(schema: typeof evalSchema, values: readonly Json[], id: number): Evaluation {
  const value = values.map((each) => schema.safeParse(each).data).find((each) => each?.id === id)
  if (value === undefined) throw new Error(`no recording shows evaluation ${id}`)
  return value
}

const unseenDrv = (id: number) => `/nix/store/00000000000000000000000000000000-unseen-${id}.drv`

/** Returns a made-up build, because the recording shows only its number. */
function placeholder(
  id: number,
  { project, jobset }: EvalPlace,
  { timestamp }: Evaluation,
  hasFailed: boolean,
): Build {
  return {
    ...{
      id,
      project,
      jobset,
      job: `unseen-${id}`,
      nixname: `unseen-${id}`,
      system: 'x86_64-linux',
      priority: 50,
    },
    ...{ drvpath: unseenDrv(id), timestamp, finished: 1 },
    ...{ buildstatus: hasFailed ? 1 : 0, starttime: timestamp, stoptime: timestamp, releasename: null },
    ...{ buildoutputs: {}, buildproducts: {}, buildmetrics: {} },
  }
}

function buildRows(build: Build, isCurrent: boolean, unseen: Unseen): string {
  const { project, jobset, buildoutputs, buildproducts, buildmetrics, ...columns } = build
  return [
    insert('builds', {
      ...columns,
      drvpath: build.drvpath ?? unseenDrv(build.id),
      priority: build.priority ?? 0,
      jobset_id: jobsetId(project, jobset),
      iscurrent: isCurrent ? 1 : 0,
      size: build.buildstatus === 0 ? unseen.size : 0,
    }),
    ...Object.entries(buildoutputs).map(([name, { path }]) =>
      insert('buildoutputs', { build: build.id, name, path }),
    ),
    ...Object.entries(buildproducts).map(([number, product]) =>
      insert('buildproducts', { build: build.id, productnr: Number(number), ...product }),
    ),
    ...Object.entries(buildmetrics).map(([name, { unit, value }]) =>
      insert('buildmetrics', {
        build: build.id,
        name,
        unit,
        value,
        project,
        jobset,
        job: build.job,
        timestamp: build.timestamp,
      }),
    ),
    ...(unseen.busy.includes(build.id)
      ? [
          insert('buildsteps', {
            build: build.id,
            stepnr: 1,
            type: 0,
            drvpath: build.drvpath ?? unseenDrv(build.id),
            busy: 1,
          }),
        ]
      : []),
  ].join('\n')
}

function evalRows(
  { project, jobset }: EvalPlace,
  { builds, jobsetevalinputs, ...columns }: Evaluation,
): string {
  return [
    insert('jobsetevals', {
      ...columns,
      jobset_id: jobsetId(project, jobset),
      hash: `recorded ${columns.id}`,
    }),
    ...builds.map((build) => insert('jobsetevalmembers', { eval: columns.id, build, isnew: 1 })),
    ...Object.entries(jobsetevalinputs).map(([name, each]) =>
      insert('jobsetevalinputs', { eval: columns.id, name, altnr: 0, ...each }),
    ),
  ].join('\n')
}

class Sql {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

const jobsetId = (project: string, jobset: string) =>
  new Sql(`(select id from jobsets where project = ${literal(project)} and name = ${literal(jobset)})`)

function insert(table: string, row: Readonly<Record<string, string | number | null | Sql>>): string {
  const values = Object.values(row).map(literal)
  return `insert into ${table} (${Object.keys(row).join(', ')}) values (${values.join(', ')}) on conflict do nothing;`
}

function literal(value: string | number | null | Sql): string {
  if (value instanceof Sql) return value.text
  if (typeof value === 'number') return String(value)
  return value === null ? 'null' : `'${value.replaceAll("'", "''")}'`
}

const jobsetSchema = z.object({
  project: z.string(),
  name: z.string(),
  enabled: z.number(),
  errormsg: z.string(),
  errortime: z.number().nullable(),
  fetcherrormsg: z.string(),
  lastcheckedtime: z.number().nullable(),
  starttime: z.number().nullable(),
  triggertime: z.number().nullable(),
})

/** Returns statements that set jobsets to their recorded states, which no evaluator has written. */
export function jobsetStates(recordings: readonly Recording[]): string {
  return recordings
    .map(({ response }) => jobsetSchema.parse(response.body))
    .map(({ project, name, errormsg, fetcherrormsg, ...state }) => {
      const columns = Object.entries({ ...state, fetcherrormsg: fetcherrormsg === '' ? null : fetcherrormsg })
      const set = [...columns, ...(errormsg === '' ? [] : [['errormsg', errormsg] as const])]
      return `update jobsets set ${set.map(([column, value]) => `${column} = ${literal(value)}`).join(', ')} where project = ${literal(project)} and name = ${literal(name)};`
    })
    .join('\n')
}
