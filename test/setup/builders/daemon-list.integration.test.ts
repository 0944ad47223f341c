import { afterAll, beforeAll, expect, it } from 'vitest'
import { bindTask, type TaskMachine } from '../../../src/core/setup-task.js'
import { builderTask } from '../../../src/setup/builders/builder-task.js'
import { buildersTask } from '../../../src/setup/builders/builders-task.js'
import { builderKeyTask } from '../../../src/setup/builders/key-task.js'
import { peer, subject, wantedOf } from '../../fakes/builder-peers.js'
import { debianMachine } from '../../fakes/debian-machine.js'
import { taskRun } from '../../fakes/task-run.js'
import { b1, ci, TwoMachines } from './two-machines.js'

type Outputs = Record<string, Record<string, string>>

let machines: TwoMachines
const run = taskRun()
/** Outputs of each machine's tasks, as the state would have them. */
const state = { ci: {} as Outputs, b1: {} as Outputs }

beforeAll(async () => {
  machines = await TwoMachines.start()
}, 120_000)
afterAll(async () => machines?.dispose())

const builder = () => ({ enable: true, for: ['ci'], hostName: '127.0.0.1', port: machines.port, maxJobs: 2 })

/** The machine whose Nix daemon builds on b1; it has no Hydra. */
function onCi(options: Record<string, unknown> = {}): TaskMachine {
  const other = peer({
    hostKey: machines.hostKey,
    outputs: state.b1,
    definition: { ...debianMachine({ builder: builder() }), name: b1 },
  })
  return subject({ ...debianMachine(options), name: ci }, state.ci, new Map([[b1, other]]))
}

function onB1(): TaskMachine {
  const definition = { ...debianMachine({ builder: builder() }), name: b1 }
  return subject(definition, state.b1, new Map([[ci, peer({ outputs: state.ci })]]))
}

const listTask = () => wantedOf(bindTask(buildersTask), onCi())

it('a list of builders counts only if the machine’s Nix reads the list', async () => {
  state.ci['builder-key'] = await wantedOf(bindTask(builderKeyTask), onCi()).apply(machines.ci.host, run)
  state.b1.builder = await wantedOf(bindTask(builderTask), onB1()).apply(machines.b1.host, run)
  state.ci.builders = await listTask().apply(machines.ci.host, run)
  const setting = 'builders = @/etc/nix/machines;@/etc/nix/hydra-ops-machines'
  await expect(listTask().verify(machines.ci.host, run)).rejects.toMatchObject({
    code: 'BUILDER_LIST',
    message: expect.stringMatching(/: Nix does not read \/etc\/nix\/hydra-ops-machines$/),
    hint: expect.stringContaining('add ;@/etc/nix/hydra-ops-machines to that line'),
  })
  await machines.ci.sh(`echo '${setting}' >> /etc/nix/nix.conf`)
  await listTask().verify(machines.ci.host, run)
  expect(run.lines.join('\n')).toContain("builder 'b1' answers")
})

it('the list and the key of the daemon go once the machine has a Hydra, which reads another list', async () => {
  const hydra = onCi({ hydra: { enable: true } })
  const task = wantedOf(bindTask(buildersTask), hydra)
  await machines.ci.sh('getent group hydra > /dev/null || groupadd --system hydra')
  await wantedOf(bindTask(builderKeyTask), hydra).apply(machines.ci.host, run)
  await task.apply(machines.ci.host, run)
  const left = () => machines.ci.sh('ls -d /etc/nix/hydra-ops-* /etc/hydra/builders* 2> /dev/null || true')
  expect(await left()).toBe('/etc/hydra/builders\n/etc/hydra/builders-key')
  expect(await task.probe(machines.ci.host, run)).toBe('done')
  const back = listTask()
  expect(await back.probe(machines.ci.host, run)).toBe('needed')
  await wantedOf(bindTask(builderKeyTask), onCi()).apply(machines.ci.host, run)
  await back.apply(machines.ci.host, run)
  expect(await left()).toBe('/etc/nix/hydra-ops-builders\n/etc/nix/hydra-ops-machines')
  await machines.ci.sh('mkdir -p /etc/hydra/builders-key')
  expect(await back.probe(machines.ci.host, run)).toEqual({
    drifted: 'the daemon does not need /etc/hydra/builders-key',
  })
  await back.apply(machines.ci.host, run)
  expect(await back.probe(machines.ci.host, run)).toBe('done')
})

it('the private half of the key is in its file alone, in no argument, no output and no record', async () => {
  const file = '/etc/nix/hydra-ops-builders/key'
  // The first lines are the same in every key.
  const line = (await machines.ci.sh(`cat ${file}`)).trim().split('\n').at(-3) ?? ''
  expect(line.length).toBeGreaterThan(40)
  const holders = (machine: 'ci' | 'b1') =>
    machines[machine].sh(`grep -rlsF -- '${line}' /etc /var /run /home /nix/var || true`)
  expect(await holders('ci')).toBe(file)
  expect(await holders('b1')).toBe('')
  const seen = [...machines.ci.host.seen, ...machines.b1.host.seen].filter(({ what }) => what !== 'prepare')
  expect(JSON.stringify([seen, run.lines, state])).not.toContain(line)
})
