import type { Readable } from 'node:stream'
import { hydraOperator } from '../test/e2e/hydra-operator.js'
import type { SshOperator } from '../test/e2e/ssh-operator.js'
import { AptRelay } from '../test/fixtures/apt-relay.js'
import { startGuest } from '../test/fixtures/guest.js'

const deployMs = 60 * 60_000

/** Whose time it is: of Debian's packages, of what we do, or of what the machine needs to answer. */
type Whose = 'Debian' | 'ours' | 'waiting'

interface Span {
  readonly what: string
  readonly whose: Whose
  readonly seconds: number
}

interface Line {
  readonly at: number
  readonly text: string
}

/** A Hydra on a booted guest, stage by stage: with all packages there, with none of them, and once more unchanged. */
export async function hydraStages(): Promise<string> {
  const relay = new AptRelay()
  const proxy = `deployment.aptProxy = "operator:${await relay.listen()}";`
  try {
    return [
      ...(await measured('debian-12', 'packages in the image', '')),
      ...(await measured('debian-12-bare', 'packages by apt', proxy)),
    ].join('\n\n')
  } finally {
    relay.dispose()
  }
}

async function measured(image: string, title: string, machine: string): Promise<string[]> {
  const guest = await startGuest({ name: 'ci', image })
  try {
    const operator = await hydraOperator(guest, 'of-the-benchmark-9', { machine })
    try {
      const first = await timedDeploy(operator)
      const second = await timedDeploy(operator)
      return [
        spanTable(`Hydra, ${title}: first deploy`, first),
        spanTable(`Hydra, ${title}: unchanged deploy`, second),
      ]
    } finally {
      operator.dispose()
    }
  } finally {
    await guest.dispose()
  }
}

async function timedDeploy(operator: SshOperator): Promise<Span[]> {
  const lines: Line[] = []
  const begin = performance.now()
  const listen = (stream: Readable | null) =>
    stream?.on('data', (text: string | Buffer) => {
      const at = performance.now()
      for (const line of String(text).split('\n')) lines.push({ at, text: line })
    })
  await operator.ok(['deploy', '-d', 'ci', '--yes'], {
    timeoutMs: deployMs,
    onSpawn(child) {
      listen(child.stdout)
      listen(child.stderr)
    },
  })
  return spans(lines, begin, performance.now())
}

const stageLine =
  /^ci> (inspect|build|create|start|reach|bootstrap|copy|keys|activate|setup|health|record)(?::|$)/
const taskLine = /^ci> ([a-z-]+): (.*)$/

/** From one stage's line to the next one's; apt's part of it and each task's, which run beside each other, below it. */
export function spans(lines: readonly Line[], begin: number, end: number): Span[] {
  const marks = lines.flatMap(({ at, text }) => {
    const stage = stageLine.exec(text)?.[1]
    return stage === undefined ? [] : [{ at, stage }]
  })
  const first = marks[0]?.at ?? end
  const stages = marks.flatMap(({ at, stage }, n): Span[] => {
    const until = marks[n + 1]?.at ?? end
    const within = lines.filter((line) => line.at >= at && line.at < until)
    const packages = aptSpan(within, until)
    const whole: Span = { what: stage, whose: whoseStage(stage), seconds: (until - at) / 1000 - packages }
    const apt: Span[] = packages === 0 ? [] : [{ what: `${stage}: apt`, whose: 'Debian', seconds: packages }]
    return [...apt, whole, ...taskSpans(within)]
  })
  return [
    { what: 'start, evaluation, plan', whose: 'ours', seconds: (first - begin) / 1000 },
    ...stages,
    { what: 'all', whose: 'ours', seconds: (end - begin) / 1000 },
  ]
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
    return [{ what: `  task ${task}`, whose: task === 'hydra-probe' ? 'waiting' : 'ours', seconds }]
  })
}

function spanTable(title: string, all: readonly Span[]): string {
  const rows = all.map(({ what, whose, seconds }) => `| ${what} | ${whose} | ${seconds.toFixed(1)} |`)
  return [`${title}\n`, '| stage | whose | s |', '| --- | --- | --- |', ...rows].join('\n')
}
