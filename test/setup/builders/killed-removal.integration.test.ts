import { afterAll, beforeAll, expect, it } from 'vitest'
import { bindTask, type TaskMachine, type WantedTask } from '../../../src/core/setup-task.js'
import type { Host } from '../../../src/core/ssh.js'
import { builderTask } from '../../../src/setup/builders/builder-task.js'
import { buildersTask } from '../../../src/setup/builders/builders-task.js'
import { builderKeyTask } from '../../../src/setup/builders/key-task.js'
import { peer, subject, wantedOf } from '../../fakes/builder-peers.js'
import { debianMachine } from '../../fakes/debian-machine.js'
import { taskRun } from '../../fakes/task-run.js'
import { CrashingHost } from '../task-contract.js'
import { b1, ci, TwoMachines } from './two-machines.js'

type Outputs = Record<string, Record<string, string>>

const run = taskRun()
let machines: TwoMachines
/** Outputs of each machine's tasks, as the state would have them. */
const state = { ci: {} as Outputs, b1: {} as Outputs }

beforeAll(async () => {
  machines = await TwoMachines.start()
}, 120_000)
afterAll(async () => machines?.dispose())

const on = () => ({ enable: true, for: ['ci'], hostName: '127.0.0.1', port: machines.port, maxJobs: 2 })
const off = { enable: false }

function onCi(builder: Record<string, unknown>): TaskMachine {
  const other = peer({
    hostKey: machines.hostKey,
    outputs: state.b1,
    definition: { ...debianMachine({ builder }), name: b1 },
  })
  return subject(
    { ...debianMachine({ hydra: { enable: true } }), name: ci },
    state.ci,
    new Map([[b1, other]]),
  )
}

function onB1(builder: Record<string, unknown>): TaskMachine {
  return subject(
    { ...debianMachine({ builder }), name: b1 },
    state.b1,
    new Map([[ci, peer({ outputs: state.ci })]]),
  )
}

/** Sets up the builder as a deploy of both machines would. */
async function setUp(): Promise<void> {
  state.ci['builder-key'] = await wantedOf(bindTask(builderKeyTask), onCi(on())).apply(machines.ci.host, run)
  state.b1.builder = await wantedOf(bindTask(builderTask), onB1(on())).apply(machines.b1.host, run)
  state.ci.builders = await wantedOf(bindTask(buildersTask), onCi(on())).apply(machines.ci.host, run)
}

/** Kills the removal at each of its steps in turn; a second removal must complete each. Returns the number of kills. */
async function killedAtEachStep(
  host: Host,
  task: () => WantedTask,
  left: () => Promise<string>,
): Promise<number> {
  for (let step = 0; ; step += 1) {
    await setUp()
    const removal = task()
    const dying = Object.assign(Object.create(host), bound(new CrashingHost(host, step)))
    const killed = await removal.apply(dying, run).then(
      () => false,
      () => true,
    )
    if (killed) await removal.apply(host, run)
    expect(await removal.probe(host, run)).toBe('done')
    expect(await left()).toBe('')
    if (!killed) return step
  }
}

function bound(host: CrashingHost): Pick<Host, 'exec' | 'script'> {
  return { exec: host.exec.bind(host), script: host.script.bind(host) }
}

it('the removal of the list of builders is completed after a kill at each step', async () => {
  const task = () => wantedOf(bindTask(buildersTask), onCi(off))
  const left = () => machines.ci.sh('ls -d /etc/hydra/builders /etc/hydra/builders-key 2> /dev/null; true')
  expect(await killedAtEachStep(machines.ci.host, task, left)).toBeGreaterThanOrEqual(3)
})

it('the removal of the account for builds is completed after a kill at each step', async () => {
  const task = () => wantedOf(bindTask(builderTask), onB1(off))
  const left = () =>
    machines.b1.sh('ls -d /var/lib/hydra-ops-builder 2> /dev/null; id nix-builder 2> /dev/null; true')
  expect(await killedAtEachStep(machines.b1.host, task, left)).toBeGreaterThanOrEqual(3)
})
