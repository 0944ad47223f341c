import type { MachineDefinition } from '../../src/core/definition.js'
import { MachineName } from '../../src/core/names.js'
import { deploy } from '../../src/deploy/deploy.js'
import { runFakeDebian } from '../fakes/fake-debian.js'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import { createFakeOps, type FakeOps } from '../fakes/fake-ops.js'
import { standardRequest } from '../fakes/standard-request.js'
import { stateTextIn } from '../fakes/state-text.js'

export interface Deployed {
  readonly ops: FakeOps
  /** The programs that were run on the user's terminal. */
  readonly ran: string[][]
  resourceName(machine: string): string
  stateText(): string
  /** Changes the record of a machine. */
  change(machine: string, change: Record<string, unknown>): Promise<void>
}

/** Deploys the machines `web` (tag front, publishes port 18080) and `db` (tag back). */
export async function deployed(): Promise<Deployed> {
  const ran: string[][] = []
  const ops = await createFakeOps({
    network: fakeNetwork([tagged('web', 'front', [18080]), tagged('db', 'back')]),
  })
  Object.assign(ops.local, {
    interactive: async (argv: readonly string[]) => {
      ran.push([...argv])
      return 7
    },
  })
  runFakeDebian(ops)
  const { uuid } = await ops.store.create({
    name: undefined,
    expressions: ['/net.nix'],
    searchPath: [],
    args: {},
  })
  await deploy(ops, { ...standardRequest, deployment: undefined })
  ops.nix.evaluations.length = 0
  ops.ssh.execs.length = 0
  return {
    ops,
    ran,
    resourceName: (machine) => `hydra-ops-${uuid}-${machine}`,
    stateText: () => stateTextIn(ops.files.paths(uuid).root),
    change: (machine, change) =>
      ops.store.lock(uuid, async (held) =>
        held.updateMachine(MachineName.parse(machine), (draft) => Object.assign(draft, change)),
      ),
  }
}

function tagged(name: string, tag: string, forwardPorts: number[] = []): MachineDefinition {
  return fakeMachine(name, { deployment: { tags: [tag] }, fake: { forwardPorts } })
}
