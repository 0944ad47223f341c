import { afterAll, beforeAll, expect, it } from 'vitest'
import { MachineName } from '../../../src/core/names.js'
import { bindTask, type TaskMachine } from '../../../src/core/setup-task.js'
import { buildersTask, sshSettingsFile } from '../../../src/setup/builders/builders-task.js'
import { builderCachesTask, cachesSshFile } from '../../../src/setup/builders/caches-task.js'
import { builderKeyTask } from '../../../src/setup/builders/key-task.js'
import { cachesFile } from '../../../src/setup/nix-settings.js'
import { b1Cache, b1Offer, peer, subject } from '../../fakes/builder-peers.js'
import { debianMachine } from '../../fakes/debian-machine.js'
import { taskRun } from '../../fakes/task-run.js'
import { b1, ci, includeFurtherSettings, TwoMachines } from './two-machines.js'

type Outputs = Record<string, Record<string, string>>

const list = '/etc/nix/hydra-ops-machines'
const key = '/etc/nix/hydra-ops-builders/key'
const b2 = MachineName.parse('b2')
let machines: TwoMachines
/** Outputs of the tasks of `ci`, as the state would have them. */
const state: Outputs = {}

beforeAll(async () => {
  machines = await TwoMachines.start()
  await includeFurtherSettings(machines.ci)
}, 120_000)
afterAll(async () => machines?.dispose())

/** Returns `ci` with the builder `b1`, which is set up, or with `b2`, which is not, or without a builder. */
function ciWith(builder: 'b1' | 'b2' | undefined): TaskMachine {
  const defined = (name: 'b1' | 'b2') =>
    debianMachine({
      builder: name === builder ? { enable: true, for: ['ci'], cache: { enable: true } } : { enable: false },
    })
  const outputs = { builder: { user: 'nix-builder', for: 'ci', entry: b1Offer }, 'builder-cache': b1Cache }
  return subject(
    { ...debianMachine({}), name: ci },
    state,
    new Map([
      [b1, peer({ outputs, definition: { ...defined('b1'), name: b1 } })],
      [b2, peer({ hostKey: undefined, definition: { ...defined('b2'), name: b2 } })],
    ]),
  )
}

const left = () =>
  machines.ci.sh(`ls ${list} ${sshSettingsFile} ${key} ${cachesFile} ${cachesSshFile} 2> /dev/null || true`)

/** Runs the tasks of `ci` that have something to do, as a deploy would; returns the lines that it prints. */
async function deploy(builder: 'b1' | 'b2' | undefined): Promise<readonly string[]> {
  const run = taskRun()
  for (const bind of [bindTask(builderKeyTask), bindTask(buildersTask), bindTask(builderCachesTask)]) {
    const task = bind(ciWith(builder))
    if (task === undefined) continue
    state[task.id] = await task.apply(machines.ci.host, run)
    expect(await task.probe(machines.ci.host, run), task.id).toBe('done')
  }
  return run.lines
}

it('a builder that is not deployed yet replaces the last one: the list and its cache go, and the key stays', async () => {
  await deploy('b1')
  expect((await left()).split('\n')).toEqual([list, sshSettingsFile, key, cachesFile, cachesSshFile].sort())
  expect(await deploy('b2')).toEqual([
    "machine 'b2' does not build for this machine yet: deploy 'b2' too",
    "machine 'b2' has no cache for this machine yet: deploy 'b2' too",
  ])
  expect(await left()).toBe(key)
})

it('a key for a builder that was never deployed is removed with the builder', async () => {
  await deploy('b2')
  expect(await left()).toBe(key)
  await deploy(undefined)
  expect(await left()).toBe('')
  expect(bindTask(buildersTask)(ciWith(undefined))).toBeUndefined()
})
