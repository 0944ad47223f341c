import { mkdirSync, mkdtempSync } from 'node:fs'
import { dirname, join } from 'node:path'
import pLimit from 'p-limit'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { freePort } from '../../providers/common/ports.js'
import type { FakeOps } from '../fakes/fake-ops.js'
import { behave } from '../fakes/virtualbox/install.js'
import { openSession, readRegistry, type Session } from '../providers/virtualbox/session.js'
import { afterEachPoint, type CrashCase, crashAt, deploymentsIn, morePoints } from './crash-cases.js'
import { type KillableScript, killableScript } from './killed-process.js'
import { operate, plannedItems, type Verb } from './machine-operator.js'
import { openOperator, type Place, quickCommands } from './virtualbox-operator.js'

let script: KillableScript
let session: Session
const places: Place[] = []

beforeAll(async () => {
  script = await killableScript(join(import.meta.dirname, 'crashing-virtualbox-operator.ts'))
  session = await openSession()
  const images = dirname(session.image.disk)
  const { signal } = session.run
  const copy = ['cp', session.image.disk, join(images, 'other.qcow2')]
  await session.local.run(copy, { signal, timeoutMs: 60_000, what: 'copy an image' })
})
afterAll(() => {
  script?.remove()
  session?.dispose()
})

/** A limit of one place at a time, so that no two deployments get the same port. */
const alone = pLimit(1)
function newPlace(): Promise<Place> {
  return alone(async () => {
    const port = await freePort(new Set(places.map((place) => place.port)), 29_500)
    // Each deployment has its own VirtualBox, because its listing must be empty after the test.
    const folder = mkdtempSync(join(session.folder, 'run-'))
    const home = join(folder, 'VirtualBox')
    mkdirSync(home)
    const standIn = { program: join(session.folder, `VBoxManage-${places.length}`), home }
    behave(standIn, ['pretend'])
    const place: Place = {
      folder,
      images: dirname(session.image.disk),
      standIn,
      recorded: join(import.meta.dirname, '..', 'fixtures', 'virtualbox'),
      port,
    }
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

/** Returns the traces of the place's deployments: VirtualBox's registry, files of machines, and entries of the state. */
async function whatIsThere(place: Place, { store }: FakeOps) {
  const { uuids, files, machines } = await deploymentsIn(place.folder, store)
  const { run } = quickCommands(place)
  const registry = await readRegistry(async (...args) => {
    const { signal } = session.run
    return (
      await run([place.standIn.program, ...args], { signal, timeoutMs: 60_000, what: 'list what is there' })
    ).stdout
  })
  const named = registry.map((line) =>
    uuids
      .reduce((text: string, uuid) => text.replaceAll(uuid, 'UUID'), line)
      .replaceAll(place.folder, '')
      .replace(/ [0-9a-f-]{36}$/, ''),
  )
  return { registry: named, files: files.filter((path) => !path.includes('/Logs')), machines }
}

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
const nothing = { registry: [], files: [], machines: [[]] }

it.each<CrashCase>([
  {
    verb: 'deploy',
    telling: [
      'rename owner.json',
      'VBoxManage clonemedium ended',
      'VBoxManage createmedium begins',
      'VBoxManage createvm begins',
      'VBoxManage createvm ended',
      'rename seed.vdi',
      'VBoxManage startvm begins',
      'VBoxManage startvm ended',
    ],
    everyday: true,
    toDo: [],
  },
  {
    verb: 'destroy',
    telling: ['VBoxManage controlvm ended', 'VBoxManage unregistervm ended', 'rmSync owner.json'],
    everyday: false,
    toDo: [],
  },
  {
    verb: 'change',
    telling: ['VBoxManage createmedium ended', 'VBoxManage controlvm ended'],
    everyday: false,
    toDo: changesOfDisks(),
  },
  {
    verb: 'recreate',
    telling: ['VBoxManage unregistervm ended'],
    everyday: false,
    toDo: [],
  },
])(
  '$verb, killed at its points and done again, ends as if nobody had killed it',
  async (wanted) => {
    const { normal, crashed } = await afterEachPoint(trial, wanted)
    expect(normal.left).toEqual(nothing)
    expect(normal.toDo.map(({ detail }) => detail)).toEqual(wanted.toDo)
    expect(crashed.map(({ at }) => at.replace(/^\d+: /, ''))).toEqual(
      expect.arrayContaining([...wanted.telling]),
    )
    expect(crashed).toEqual(crashed.map(({ at }) => ({ at, first: 'killed', outcome: normal })))
  },
  morePoints ? 3_600_000 : undefined,
)

/** Lists the changes that take effect at the next start of the guest. */
function changesOfDisks(): string[] {
  return ['memory 64 → 128 MiB', 'disk more attached', 'disk data 1 GiB → 2 GiB']
}

it('a deploy without a kill makes one machine, which runs, with its disks', async () => {
  const place = await beginning('deploy')
  const { there } = await judge(place, 'deploy')
  expect(there).toMatchObject({ machines: [[['web', undefined, true]]] })
  expect(there.registry).toEqual(expect.arrayContaining(['hydra-ops-UUID-web', 'running hydra-ops-UUID-web']))
  expect(there.registry.filter((line) => line.endsWith('.vdi'))).toHaveLength(3)
})
