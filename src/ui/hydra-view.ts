import { ago } from '../core/ages.js'
import type { BuildRow, EvaluationRow, HydraStatus, JobsetStatus } from '../core/hydra-reports.js'
import { printable, printableLines } from './printable.js'
import type { Style } from './style.js'
import { columnsOf, type Row } from './table.js'

/** Formats the state of a Hydra: the queue first, then each jobset, then details and builds. */
export function hydraStatusView(status: HydraStatus, now: Date, style: Style): string {
  const { queue, queued, running, jobsets, builds } = status
  const paint = queue.kind === 'idle' || queue.kind === 'busy' ? style.good : style.bad
  const blocks = [
    `${style.strong(status.url)}  queue ${paint(queue.kind)}: ${queued.length} builds unfinished, ${running.length} running`,
    ...queue.blocked.map(
      ({ type, steps, cause, remedy }) =>
        `  ${style.bad(printable(cause))}${type === undefined ? '' : ` (${printable(type)})`}: ${steps} waiting\n  ${printable(remedy)}`,
    ),
    ...(jobsets.length === 0
      ? []
      : [
          columnsOf(
            jobsets.map((each) => jobsetRow(each, now, style)),
            2,
          ).join('\n'),
        ]),
    ...jobsets.flatMap((each) => detailLines(each, now, style)),
    ...(builds === undefined ? [] : [buildLines(builds, now)]),
  ]
  return blocks.join('\n')
}

function jobsetRow(jobset: JobsetStatus, now: Date, style: Style): Row {
  const { project, jobset: name, succeeded, failed, unfinished, error } = jobset
  return [
    { text: `${project}:${name}`, paint: style.strong },
    `${succeeded} succeeded`,
    { text: `${failed} failed`, paint: failed > 0 ? style.bad : style.good },
    `${unfinished} unfinished`,
    evaluatorText(jobset, now),
    { text: error, paint: style.bad },
  ]
}

function evaluatorText({ evaluator, since, lastChecked }: JobsetStatus, now: Date): string {
  if (evaluator === 'idle')
    return lastChecked === undefined ? 'never evaluated' : `evaluated ${when(lastChecked, now)}`
  const what = evaluator === 'waiting' ? 'evaluation wanted' : 'evaluation began'
  return since === undefined ? what : `${what} ${when(since, now)}`
}

function detailLines({ detail }: JobsetStatus, now: Date, style: Style): string[] {
  if (detail === undefined) return []
  const { evaluation, inputs, gate, lastGreen, failedBuilds, errors } = detail
  const revisions = Object.entries(inputs).map(([name, revision]) =>
    printable(`${name} ${revision.slice(0, 12)}`),
  )
  return [
    evaluation === undefined
      ? 'no evaluation yet'
      : `newest evaluation ${point(evaluation, now)}${revisions.length === 0 ? '' : `, ${revisions.join(', ')}`}`,
    gate === undefined ? 'no gate' : printable(`gate ${gate.job}: ${gate.state} (build ${gate.id})`),
    lastGreen === undefined
      ? style.bad('no green gate')
      : `last green gate: evaluation ${point(lastGreen, now)}`,
    ...(failedBuilds.length === 0 ? [] : [buildLines(failedBuilds, now)]),
    ...(errors === '' ? [] : printableLines(errors.trimEnd()).map((line) => style.bad(line))),
  ]
}

function point({ id, at }: EvaluationRow, now: Date): string {
  return at === undefined ? String(id) : `${id} (${when(at, now)})`
}

function buildLines(builds: readonly BuildRow[], now: Date): string {
  return columnsOf(
    builds.map(({ id, job, state, at }) => [String(id), job, state, at === undefined ? '' : when(at, now)]),
    2,
  ).join('\n')
}

function when(seconds: number, now: Date): string {
  return ago(now, new Date(seconds * 1000).toISOString())
}
