import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { MachineName } from '../../../src/core/names.js'
import { bindTask, type TaskMachine } from '../../../src/core/setup-task.js'
import type { Host } from '../../../src/core/ssh.js'
import { builderTask } from '../../../src/setup/builders/builder-task.js'
import { buildersTask } from '../../../src/setup/builders/builders-task.js'
import { builderKeyTask } from '../../../src/setup/builders/key-task.js'
import { queueRunnerFile } from '../../../src/setup/hydra/settings.js'
import { peer, subject, wantedOf } from '../../fakes/builder-peers.js'
import { debianMachine } from '../../fakes/debian-machine.js'
import { taskRun } from '../../fakes/task-run.js'
import { b1, ci, TwoMachines } from './two-machines.js'

type Outputs = Record<string, Record<string, string>>

const list = '/etc/hydra/builders'
const run = taskRun()
let machines: TwoMachines
/** Outputs of each machine's tasks, as the state would have them. */
const state = { ci: {} as Outputs, b1: {} as Outputs }

const builder = () => ({ enable: true, for: ['ci'], hostName: '127.0.0.1', port: machines.port, maxJobs: 2 })

function onCi(hydra: Record<string, unknown> = {}, outputs: Outputs = state.b1): TaskMachine {
  const other = peer({
    hostKey: machines.hostKey,
    outputs,
    definition: { ...debianMachine({ builder: builder() }), name: b1 },
  })
  return subject(
    { ...debianMachine({ hydra: { enable: true, ...hydra } }), name: ci },
    state.ci,
    new Map([[b1, other]]),
  )
}

const listTask = () => wantedOf(bindTask(buildersTask), onCi())

/** Returns the machine with a stand-in for systemd, whose queue runner has this environment. */
function withRunner(environment: string): Host {
  const { host } = machines.ci
  const script: Host['script'] = (text, args, options) =>
    host.script(`systemctl() { echo '${environment}'; }\n${text}`, args, options)
  return Object.assign(Object.create(host), { script })
}

beforeAll(async () => {
  machines = await TwoMachines.start()
  state.ci['builder-key'] = await wantedOf(bindTask(builderKeyTask), onCi()).apply(machines.ci.host, run)
  const onB1 = subject(
    { ...debianMachine({ builder: builder() }), name: b1 },
    state.b1,
    new Map([[ci, peer({ outputs: state.ci })]]),
  )
  state.b1.builder = await wantedOf(bindTask(builderTask), onB1).apply(machines.b1.host, run)
}, 120_000)
afterAll(async () => machines?.dispose())
beforeEach(async () => {
  await listTask().apply(machines.ci.host, run)
})

it('a list is refused that the queue runner does not read', async () => {
  await expect(
    listTask().verify(withRunner('NIX_REMOTE_SYSTEMS=/etc/hydra/machines'), run),
  ).rejects.toMatchObject({
    code: 'BUILDER_LIST',
    message: expect.stringContaining(`the queue runner does not read ${list}`),
    hint: expect.stringContaining('"localhost"'),
  })
  await listTask().verify(withRunner(`NIX_REMOTE_SYSTEMS=/etc/hydra/machines:${list}`), run)
})

it('a list is refused for a Hydra that connects to no builder, and the present list stays', async () => {
  const before = await machines.ci.sh(`cat ${list}`)
  await machines.ci.sh(`touch ${queueRunnerFile}`)
  await expect(listTask().apply(machines.ci.host, run)).rejects.toMatchObject({
    code: 'BUILD_MACHINES',
    message: expect.stringContaining('b1 cannot build for this Hydra'),
  })
  await machines.ci.sh(`rm ${queueRunnerFile}`)
  expect(await machines.ci.sh(`cat ${list}`)).toBe(before)
})

it('a builder is refused that deployment.hydra.buildMachines names too, and the present list stays', async () => {
  const before = await machines.ci.sh(`cat ${list}`)
  const twice = { buildMachines: [{ hostName: 'b1.example.org', systems: ['x86_64-linux'] }] }
  const { builder: offered = {} } = state.b1
  const entry = offered.entry?.replace('127.0.0.1', 'b1.example.org') ?? ''
  const task = wantedOf(bindTask(buildersTask), onCi(twice, { builder: { ...offered, entry } }))
  await expect(task.apply(machines.ci.host, run)).rejects.toMatchObject({
    code: 'BUILDER_LIST',
    message: expect.stringContaining('names b1.example.org, which deployment.builder names too'),
  })
  expect(await machines.ci.sh(`cat ${list}`)).toBe(before)
})

it('a list with one builder twice is refused, and the present list stays', async () => {
  const before = await machines.ci.sh(`cat ${list}`)
  const { definition, peers = new Map(), ...rest } = onCi()
  const [twin] = peers.values()
  const b2 = MachineName.parse('b2')
  const twins = new Map([...peers, [b2, twin]])
  const task = wantedOf(bindTask(buildersTask), { ...rest, definition, peers: twins })
  await expect(task.apply(machines.ci.host, run)).rejects.toMatchObject({
    code: 'BUILDER_LIST',
    message: expect.stringContaining('the list of builders is wrong: '),
    hint: expect.stringContaining('the current list was not changed'),
  })
  expect(await machines.ci.sh(`cat ${list}`)).toBe(before)
})

it('a list is not removed while another hydra-ops changes the builders of the machine', async () => {
  const before = await machines.ci.sh(`cat ${list}`)
  const outputs = { ...state.ci, builders: { builders: 'b1' } }
  const removal = wantedOf(bindTask(buildersTask), { ...onCi(), outputs, peers: new Map() })
  // The lock is never free; the real program says so after a minute.
  await machines.ci.standIn('flock', 'exit 1')
  await expect(removal.apply(machines.ci.host, run)).rejects.toMatchObject({
    message: expect.stringContaining('remove the list of builders'),
    detail: 'another hydra-ops has changed the builders of this machine for more than a minute',
  })
  expect(await machines.ci.sh(`cat ${list}`)).toBe(before)
  await machines.ci.removeStandIn('flock')
  await removal.apply(machines.ci.host, run)
  expect(await machines.ci.sh(`ls ${list} 2> /dev/null; true`)).toBe('')
})
