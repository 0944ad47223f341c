import type { MachineName } from '../../src/core/names.js'
import { MachineName as Name } from '../../src/core/names.js'
import type { PeerMachine, TaskMachine, WantedTask } from '../../src/core/setup-task.js'

/** The public host key of the made-up builders. */
export const builderHostKey =
  'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIERYHSWUit89S0L2+5H0TFp9S12itndkckU1QTtgGn2X'

/** The offer of the made-up builder `b1`. */
export const b1Offer = 'nix-builder@b1:22 x86_64-linux 4 1 big-parallel,kvm -'

/** Creates a machine that is known from the state alone. */
export function peer(more: Partial<PeerMachine> = {}): PeerMachine {
  return { hostKey: builderHostKey, outputs: {}, definition: undefined, obsolete: false, ...more }
}

/** Report of the made-up builder `b1` about its cache. */
export const b1Cache = {
  publicKey: 'lab-b1-builder-1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=',
  sample: '/nix/store/0zpqig0p3h9p3n1zpyghwz18xs9vcyml-hydra-ops-builder-cache',
}

/** Returns the machines of a deployment in which `b1` builds for a machine, and offers a cache to it. */
export function peersOffering(user: MachineName, entry = b1Offer): ReadonlyMap<MachineName, PeerMachine> {
  const builder = { user: 'nix-builder', for: user, entry }
  return new Map([[Name.parse('b1'), peer({ outputs: { builder, 'builder-cache': b1Cache } })]])
}

/** Returns a machine as set-up tasks see it: definition, earlier outputs of its tasks, and other machines. */
export function subject(
  definition: TaskMachine['definition'],
  outputs: NonNullable<TaskMachine['outputs']>,
  peers: ReadonlyMap<MachineName, PeerMachine>,
): TaskMachine {
  return { definition, deployment: 'lab', outputs, peers, publishedPort: () => undefined }
}

/** Returns the task that a machine wants. */
export function wantedOf(
  bind: (machine: TaskMachine) => WantedTask | undefined,
  machine: TaskMachine,
): WantedTask {
  const found = bind(machine)
  if (found === undefined) throw new Error('the task is not wanted')
  return found
}
