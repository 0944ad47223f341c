import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DeploymentName, type DeploymentUuid, MachineName } from '../src/core/names.js'
import type { DeploymentSession } from '../src/core/session.js'
import type { DeploymentStore } from '../src/core/store.js'
import { createStateFolder } from '../state/paths.js'
import { createStore } from '../state/store.js'
import { killableScript } from '../test/crash/killed-process.js'
import { FirstDeploy } from './first-deploy.js'
import { rememberMachines } from './many-machines.js'
import { median, timed } from './measure.js'

const turns = 31
const counts = [20, 500, 5_000]
const deployed = 500
const maxConcurrent = 10

/**
 * Measures the costs of the state, and returns them as a table: one update of a machine among many, and a first
 * deploy.
 */
export async function stateCosts(): Promise<string> {
  const rows = [['what', 'measured', 'budget']]
  const medians: number[] = []
  for (const [count, times] of await updateTimes()) {
    const ms = median(times)
    medians.push(ms)
    const most = Math.max(...times)
    rows.push([`one update among ${count} machines`, `${ms.toFixed(1)} ms (at most ${most.toFixed(1)})`, '–'])
  }
  const ratio = (medians.at(-1) ?? Number.NaN) / (medians[0] ?? Number.NaN)
  rows.push(['the last in relation to the first', ratio.toFixed(2), verdict(ratio <= 1.5, '≤ 1.5')])
  const { seconds, blockedMs, workedMs, connections, rssMiB } = await firstDeployAlone()
  rows.push([`first deploy of ${deployed} machines, made up`, `${seconds.toFixed(1)} s`, '–'])
  rows.push([
    'event loop blocked, at most',
    `${blockedMs.toFixed(0)} ms`,
    verdict(blockedMs <= 100, '≤ 100 ms'),
  ])
  rows.push(['processor time of one piece of work, at most', `${workedMs.toFixed(0)} ms`, '–'])
  const open = verdict(connections <= maxConcurrent, `≤ ${maxConcurrent} (--max-concurrent)`)
  rows.push(['connections open at once', String(connections), open])
  rows.push(['memory', `${rssMiB.toFixed(0)} MiB`, verdict(rssMiB <= 200, '≤ 200 MiB')])
  const [head = [], ...body] = rows
  return [head, head.map(() => '---'), ...body].map((row) => `| ${row.join(' | ')} |`).join('\n')
}

/** Measures a first deploy in a separate process. */
async function firstDeployAlone(): Promise<FirstDeploy> {
  const script = await killableScript(join(import.meta.dirname, 'first-deploy-process.ts'))
  try {
    return FirstDeploy.parse(JSON.parse(await script.run([String(deployed), String(maxConcurrent)])))
  } finally {
    script.remove()
  }
}

function verdict(kept: boolean, budget: string): string {
  return `${kept ? 'kept' : 'MISSED'}: ${budget}`
}

/**
 * Measures updates of deployments of each size. The sizes alternate, so that other load on the host affects
 * all sizes alike.
 */
async function updateTimes(): Promise<Map<number, number[]>> {
  const root = mkdtempSync(join(tmpdir(), 'hydra-ops-bench-'))
  try {
    const operator = { user: 'bench', host: 'bench', command: 'bench', run: 'bench' }
    const store = await createStore({ files: createStateFolder(root, {}), operator, env: {} })
    const uuids: DeploymentUuid[] = []
    for (const count of counts)
      uuids.push(await rememberMachines(store, DeploymentName.parse(`of-${count}`), count))
    return await withSessions(store, uuids, [], async (sessions) => {
      const times = new Map(counts.map((count) => [count, [] as number[]]))
      for (let turn = 0; turn <= turns; turn++) {
        for (const [at, session] of sessions.entries()) {
          const ms = await timed(() => update(session, turn))
          if (turn > 0) times.get(counts[at] ?? 0)?.push(ms)
        }
      }
      return times
    })
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
}

function withSessions<T>(
  store: DeploymentStore,
  uuids: readonly DeploymentUuid[],
  sessions: readonly DeploymentSession[],
  action: (sessions: readonly DeploymentSession[]) => Promise<T>,
): Promise<T> {
  const [uuid, ...others] = uuids
  if (uuid === undefined) return action(sessions)
  return store.lock(uuid, (session) => withSessions(store, others, [...sessions, session], action))
}

function update(session: DeploymentSession, turn: number): Promise<void> {
  return session.updateMachine(MachineName.parse('m7'), ({ facts }) =>
    Object.assign(facts, { bootId: `boot-${turn}` }),
  )
}
