import { mkdirSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import pLimit from 'p-limit'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { freePort } from '../../providers/common/ports.js'
import type { FakeOps } from '../fakes/fake-ops.js'
import { openSession, type Session } from '../providers/libvirt/session.js'
import { afterEachPoint, type CrashCase, crashAt, deploymentsIn } from './crash-cases.js'
import { type KillableScript, killableScript } from './killed-process.js'
import { openOperator, type Place } from './libvirt-operator.js'
import { operate, plannedItems, type Verb } from './machine-operator.js'

let script: KillableScript
beforeAll(async () => {
  script = await killableScript(join(import.meta.dirname, 'crashing-libvirt-operator.ts'))
})
afterAll(() => script?.remove())

let session: Session
let shared: Pick<Place, 'images' | 'pool' | 'poolFolder'>
const places: Place[] = []

beforeAll(async () => {
  session = await openSession()
  const poolFolder = join(session.folder, 'pool')
  const images = dirname(session.image.disk)
  shared = { images, pool: `hydra-ops-crash-${process.pid}`, poolFolder }
  mkdirSync(poolFolder)
  await session.program(['cp', session.image.disk, join(images, 'other.qcow2')])
  await session.virsh('pool-create-as', shared.pool, 'dir', '--target', poolFolder)
})
afterAll(async () => {
  try {
    // A failing test leaves machines behind.
    for (const place of places) await operate(await openOperator(place, 'destroy'), 'destroy')
  } finally {
    await session.virsh('pool-destroy', shared.pool)
    session.dispose()
  }
})

/** Returns libvirt's own listing of the pool. */
async function volumes(): Promise<string> {
  await session.virsh('pool-refresh', shared.pool)
  return session.virsh('vol-list', shared.pool)
}

/** A limit of one place at a time, so that no two deployments get the same port. */
const alone = pLimit(1)
function newPlace(): Promise<Place> {
  return alone(async () => {
    const port = await freePort(new Set(places.map((place) => place.port)), 29_000)
    const place = { ...shared, folder: mkdtempSync(join(session.folder, 'run-')), port }
    places.push(place)
    return place
  })
}

const crash = (place: Place, verb: Verb, nth: number) => crashAt(script, place, verb, nth)

/** Runs the verb as a new operator does, for example after a crash. */
async function again(place: Place, verb: Verb): Promise<FakeOps> {
  const ops = await openOperator(place, verb)
  await operate(ops, verb)
  return ops
}

/**
 * Returns everything that belongs to this deployment: libvirt's listing, QEMU's processes, files, and the content of
 * the state.
 */
async function whatIsThere(place: Place, { store }: FakeOps) {
  const { uuids, ours, files, machines } = await deploymentsIn(place.folder, store)
  const domains = async (...flags: string[]) =>
    ours((await session.virsh('list', ...flags, '--name')).split('\n'))
  return {
    domains: await domains('--all'),
    running: await domains(),
    processes: qemuProcesses(uuids).length,
    volumes: ours(readdirSync(place.poolFolder)),
    files,
    machines,
  }
}

/** Returns the QEMU processes whose command line names one of our deployments, even if libvirt does not list them. */
function qemuProcesses(uuids: readonly string[]): string[] {
  return readdirSync('/proc').filter((pid) => {
    const [program = '', ...args] = /^\d+$/.test(pid) ? commandLineOf(pid) : []
    return (
      /\/qemu-system-[^/]*$/.test(program) && args.some((arg) => uuids.some((uuid) => arg.includes(uuid)))
    )
  })
}

function commandLineOf(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
  } catch {
    // The process has ended in the meantime.
    return []
  }
}

const nothing = { domains: [], running: [], processes: 0, volumes: [], files: [], machines: [[]] }

/** Prepares a place for the verb: a new place, or a place with a deployed machine. */
async function beginning(verb: Verb): Promise<Place> {
  const place = await newPlace()
  if (verb !== 'deploy') await again(place, 'deploy')
  return place
}

/**
 * Completes the verb, and then destroys the machine. Returns the objects after each step, and the plan of a deploy
 * between them.
 */
async function judge(place: Place, verb: Verb) {
  const ops = await again(place, verb)
  const there = await whatIsThere(place, ops)
  const toDo = verb === 'destroy' ? [] : await plannedItems(ops)
  await operate(ops, 'destroy')
  return { there, toDo, left: await whatIsThere(place, ops) }
}

const trial = { beginning, crash, judge, parallel: 2 }

const notes = ['open owner.json.DRAFT', 'rename owner.json']

it.each<CrashCase>([
  {
    verb: 'deploy',
    telling: [
      ...notes,
      'qemu-img create ended',
      'virsh define ended',
      'virsh start begins',
      'virsh start ended',
    ],
    everyday: true,
    toDo: [],
  },
  {
    verb: 'destroy',
    telling: ['virsh destroy ended', 'virsh undefine ended', 'rmSync owner.json'],
    everyday: true,
    toDo: [],
  },
  {
    verb: 'change',
    telling: ['virsh blockresize ended', 'virsh define ended'],
    everyday: false,
    // The new disk is attached at the next start of the guest.
    toDo: ['disk more attached'],
  },
  { verb: 'recreate', telling: ['virsh undefine ended', 'virsh define ended'], everyday: false, toDo: [] },
])('$verb, killed at its points and done again, ends as if nobody had killed it', async (wanted) => {
  const { normal, crashed } = await afterEachPoint(trial, wanted)
  expect(normal.left).toEqual(nothing)
  expect(normal.toDo.map(({ detail }) => detail)).toEqual(wanted.toDo)
  expect(crashed.map(({ at }) => at.replace(/^\d+: /, ''))).toEqual(
    expect.arrayContaining([...wanted.telling]),
  )
  expect(crashed).toEqual(crashed.map(({ at }) => ({ at, first: 'killed', outcome: normal })))
  expect(await volumes()).toBe('')
})

it('a deploy without a kill makes one domain, which runs, with its two disks', async () => {
  const place = await beginning('deploy')
  const { there } = await judge(place, 'deploy')
  expect(there).toMatchObject({
    domains: ['hydra-ops-UUID-web'],
    running: ['hydra-ops-UUID-web'],
    processes: 1,
    volumes: ['hydra-ops-UUID-web.data.qcow2', 'hydra-ops-UUID-web.qcow2'],
    machines: [[['web', undefined, true]]],
  })
})
