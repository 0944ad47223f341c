/** Use of the time: Debian's packages, hydra-ops's own work, or a wait for the machine. */
type Whose = 'Debian' | 'ours' | 'waiting'

export interface Span {
  readonly what: string
  readonly whose: Whose | ''
  readonly seconds: number
  /** Whether the time is already counted in the stage above. */
  readonly within?: boolean
}

export interface Line {
  readonly at: number
  readonly text: string
}

const stageLine =
  /^ci> (inspect|build|create|start|reach|bootstrap|copy|keys|activate|setup|health|record)(?::|$)/
const taskLine = /^ci> ([a-z-]+): (.*)$/

/**
 * Computes the time of each stage, from its line to the next stage's line. apt has a separate row. The tasks,
 * which run in parallel, follow below their stage. The last rows sum the time by use. A proof does not count in
 * its stage: it is the last task, and runs alone.
 */
export function spans(lines: readonly Line[], begin: number, end: number): Span[] {
  const marks = lines.flatMap(({ at, text }) => {
    const stage = stageLine.exec(text)?.[1]
    return stage === undefined ? [] : [{ at, stage }]
  })
  const first = marks[0]?.at ?? end
  const start: Span = { what: 'start, evaluation, plan', whose: 'ours', seconds: (first - begin) / 1000 }
  const stages = marks.flatMap(({ at, stage }, n): Span[] => {
    const until = marks[n + 1]?.at ?? end
    const within = lines.filter((line) => line.at >= at && line.at < until)
    const packages = aptSpan(within, until)
    const tasks = taskSpans(within)
    const waited = tasks.filter(({ whose }) => whose === 'waiting').reduce(sum, 0)
    const seconds = (until - at) / 1000 - packages - waited
    const whole: Span = { what: stage, whose: whoseStage(stage), seconds }
    const apt: Span[] = packages === 0 ? [] : [{ what: `${stage}: apt`, whose: 'Debian', seconds: packages }]
    return [...apt, whole, ...tasks]
  })
  const all = [start, ...stages]
  const whole = (end - begin) / 1000
  const totals = (['Debian', 'ours', 'waiting'] as const).map((whose): Span => {
    const seconds = all.filter((span) => span.whose === whose && !span.within).reduce(sum, 0)
    return { what: `of all: ${((100 * seconds) / whole).toFixed(0)} %`, whose, seconds }
  })
  return [...all, { what: 'all', whose: '', seconds: whole }, ...totals]
}

function sum(before: number, { seconds }: Span): number {
  return before + seconds
}

function whoseStage(stage: string): Whose {
  return ['reach', 'health'].includes(stage) ? 'waiting' : 'ours'
}

function aptSpan(lines: readonly Line[], until: number): number {
  const start = lines.find(({ text }) => text.includes('> apt: installing'))
  if (start === undefined) return 0
  const last = lines.findLastIndex(({ text }) => text.includes('> apt: '))
  return ((lines[last + 1]?.at ?? until) - start.at) / 1000
}

function taskSpans(lines: readonly Line[]): Span[] {
  const begun = new Map<string, number>()
  return lines.flatMap(({ at, text }): Span[] => {
    const [, task = '', said] = taskLine.exec(text) ?? []
    if (task === '' || task === 'apt') return []
    if (!begun.has(task)) begun.set(task, at)
    if (said !== 'done') return []
    const seconds = (at - (begun.get(task) ?? at)) / 1000
    // The proof waits for Hydra to evaluate and to build.
    if (task === 'hydra-proof') return [{ what: `task ${task}`, whose: 'waiting', seconds }]
    return [{ what: `of it task ${task}`, whose: 'ours', seconds, within: true }]
  })
}

/** Formats the spans as Markdown. */
export function spanTable(title: string, all: readonly Span[]): string {
  const rows = all.map(({ what, whose, seconds }) => `| ${what} | ${whose} | ${seconds.toFixed(1)} |`)
  return [`${title}\n`, '| stage | whose | s |', '| --- | --- | --- |', ...rows].join('\n')
}
