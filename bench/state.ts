import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DeploymentName, MachineName } from '../src/core/names.js'
import type { DeploymentSession } from '../src/core/session.js'
import { createStateFolder } from '../state/paths.js'
import { createStore } from '../state/store.js'
import { firstDeploy } from './first-deploy.js'
import { rememberMachines } from './many-machines.js'
import { median, timed } from './measure.js'

const turns = 31
const counts = [20, 500, 5_000]
const deployed = 500
const maxConcurrent = 10

/** What the state costs, as a table: one update of a machine among many, and a first deploy of many. */
export async function stateCosts(): Promise<string> {
  const rows = [['what', 'measured', 'budget']]
  const medians: number[] = []
  for (const count of counts) {
    const times = await updateTimes(count)
    const ms = median(times)
    medians.push(ms)
    const most = Math.max(...times)
    rows.push([`one update among ${count} machines`, `${ms.toFixed(1)} ms (at most ${most.toFixed(1)})`, '–'])
  }
  const ratio = (medians.at(-1) ?? Number.NaN) / (medians[0] ?? Number.NaN)
  rows.push([`the last in relation to the first`, ratio.toFixed(2), verdict(ratio <= 2, '≤ 2 (O(1))')])
  const { seconds, blockedMs, connections, rssMiB } = await firstDeploy(deployed, maxConcurrent)
  rows.push([`first deploy of ${deployed} machines, made up`, `${seconds.toFixed(1)} s`, '–'])
  rows.push([
    'event loop blocked, at most',
    `${blockedMs.toFixed(0)} ms`,
    verdict(blockedMs <= 100, '≤ 100 ms'),
  ])
  const open = verdict(connections <= maxConcurrent, `≤ ${maxConcurrent} (--max-concurrent)`)
  rows.push(['connections open at once', String(connections), open])
  rows.push(['memory', `${rssMiB.toFixed(0)} MiB`, verdict(rssMiB <= 200, '≤ 200 MB')])
  const [head = [], ...body] = rows
  return [head, head.map(() => '---'), ...body].map((row) => `| ${row.join(' | ')} |`).join('\n')
}

function verdict(kept: boolean, budget: string): string {
  return `${kept ? 'kept' : 'MISSED'}: ${budget}`
}

async function updateTimes(count: number): Promise<number[]> {
  const root = mkdtempSync(join(tmpdir(), 'hydra-ops-bench-'))
  try {
    const files = createStateFolder(root, {})
    const operator = { user: 'bench', host: 'bench', command: 'bench', run: 'bench' }
    const store = await createStore({ files, operator, env: {} })
    const uuid = await rememberMachines(store, DeploymentName.parse('many'), count)
    return await store.lock(uuid, updates)
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
}

async function updates(session: DeploymentSession): Promise<number[]> {
  const times: number[] = []
  const name = MachineName.parse('m7')
  for (let turn = 0; turn <= turns; turn++) {
    const change = () =>
      session.updateMachine(name, (draft) => Object.assign(draft.facts, { bootId: `boot-${turn}` }))
    const ms = await timed(change)
    if (turn > 0) times.push(ms)
  }
  return times
}
