import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pLimit from 'p-limit'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { createFakeHypervisor } from '../fakes/fake-hypervisor.js'
import { type KillableScript, killableScript } from './killed-process.js'

type Verb = 'create' | 'deploy' | 'from-hydra' | 'destroy'
type Kind = 'write' | 'operation'

const Counted = z.object({ write: z.number(), operation: z.number() })
/** The number of parallel processes. Each spends most of its time starting up. */
const parallel = 3

let base: string

let script: KillableScript
beforeAll(async () => {
  script = await killableScript(join(import.meta.dirname, 'crashing-operator.ts'))
})
afterAll(() => script?.remove())

/**
 * Runs one verb in a separate process. Returns the number of points that the process passed, or 'killed' if it stopped
 * itself.
 */
async function operate(folder: string, verb: Verb, stop?: { kind: Kind; nth: number }) {
  const end = await script.run([folder, verb, stop?.kind ?? 'never', String(stop?.nth ?? 0)])
  return end === 'killed' ? end : Counted.parse(JSON.parse(end))
}

/** Counts the objects of the made-up hypervisor, and lists the machines that the state records. */
function whatIsThere(folder: string) {
  const { domains, disks, running } = createFakeHypervisor(join(folder, 'hypervisor')).listing()
  const deployments = readdirSync(join(folder, 'state', 'deployments')).filter((name) =>
    /^[0-9a-f-]{36}$/.test(name),
  )
  const files = deployments.flatMap((uuid) =>
    readdirSync(join(folder, 'state', 'deployments', uuid, 'machines')),
  )
  return {
    domains: domains.length,
    disks: disks.length,
    running: running.length,
    deployments: deployments.length,
    recorded: ['db', 'web'].filter((name) => files.some((file) => file.startsWith(`${name}.`))),
  }
}

const Machine = z.object({
  name: z.string(),
  machine: z.object({ deployed: z.object({ hydra: z.object({ evaluation: z.number() }) }) }),
})

/** Returns the recorded evaluation of each machine. */
function evaluationsIn(folder: string) {
  const root = join(folder, 'state', 'deployments')
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((path) =>
    /\/machines\/[a-z]+\.json$/.test(path),
  )
  const records = files.map((path) => Machine.parse(JSON.parse(readFileSync(join(root, path), 'utf8'))))
  return {
    evaluations: Object.fromEntries(
      records.map(({ name, machine }) => [name, machine.deployed.hydra.evaluation]).sort(),
    ),
  }
}

const empty = { domains: 0, disks: 0, running: 0, deployments: 1, recorded: [] }
const full = { domains: 2, disks: 2, running: 2, deployments: 1, recorded: ['db', 'web'] }

/** Kills the verb at each of its points, then runs the verb again. Returns the objects after each second run. */
async function afterEachPoint(verb: Verb, kind: Kind, start: string | undefined) {
  const fresh = () => {
    const folder = mkdtempSync(join(base, `${verb}-`))
    if (start !== undefined) cpSync(start, folder, { recursive: true })
    return folder
  }
  const counted = await operate(fresh(), verb)
  if (counted === 'killed') throw new Error('a run that was not told to stop was killed')
  const limit = pLimit(parallel)
  const points = Array.from({ length: counted[kind] }, (_, index) => index + 1)
  return Promise.all(
    points.map((nth) =>
      limit(async () => {
        const folder = fresh()
        const first = await operate(folder, verb, { kind, nth })
        await operate(folder, verb)
        const there = { ...whatIsThere(folder), ...(verb === 'from-hydra' ? evaluationsIn(folder) : {}) }
        rmSync(folder, { recursive: true, force: true })
        return { nth, first, ...there }
      }),
    ),
  )
}

describe.each(['write', 'operation'] as const)('a deploy or destroy that is killed after any %s', (kind) => {
  let deployed: string
  beforeAll(async () => {
    base = mkdtempSync(join(tmpdir(), 'hydra-ops-crash-'))
    deployed = join(base, 'deployed')
    await operate(deployed, 'deploy')
  })
  afterAll(() => rmSync(base, { recursive: true, force: true }))

  it('leaves no orphan and no double once deploy ran again', async () => {
    const points = await afterEachPoint('deploy', kind, undefined)
    expect(points.length).toBeGreaterThan(5)
    expect(points).toEqual(points.map(({ nth }) => ({ nth, first: 'killed', ...full })))
  })

  it('leaves every machine with its build of one evaluation once deploy --from-hydra ran again', async () => {
    const points = await afterEachPoint('from-hydra', kind, undefined)
    expect(points.length).toBeGreaterThan(0)
    expect(points).toEqual(
      points.map(({ nth }) => ({ nth, first: 'killed', ...full, evaluations: { db: 7, web: 7 } })),
    )
  })

  it('leaves nothing once destroy ran again', async () => {
    const points = await afterEachPoint('destroy', kind, deployed)
    expect(points.length).toBeGreaterThan(3)
    expect(points).toEqual(points.map(({ nth }) => ({ nth, first: 'killed', ...empty })))
  })
})

describe('create', () => {
  beforeAll(() => {
    base = mkdtempSync(join(tmpdir(), 'hydra-ops-crash-'))
  })
  afterAll(() => rmSync(base, { recursive: true, force: true }))

  it('makes one deployment in the end, never two, when it was killed after any write', async () => {
    const points = await afterEachPoint('create', 'write', undefined)
    expect(points.length).toBeGreaterThan(0)
    expect(points).toEqual(points.map(({ nth }) => ({ nth, first: 'killed', ...empty })))
  })
})
