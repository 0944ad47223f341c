import type { MachineRecord } from '../../src/core/deployment.js'
import { MachineName, type StorePath } from '../../src/core/names.js'
import type { Ssh, SshTarget } from '../../src/core/ssh.js'
import { type MachineSession, recordedMachine } from '../../src/machine/machine.js'
import { dryRunSession } from '../../src/machine/session.js'
import { createFakeOps, type FakeOps, fakeRegistry, rememberNetwork } from './fake-ops.js'
import { recordingRun } from './fake-target.js'

/** A session with a NixOS machine `web` that no provider created, with its log, journal and record. */
export interface NixosSession {
  readonly session: MachineSession
  readonly ops: FakeOps
  readonly lines: readonly string[]
  /** Events of the journal with their results. */
  readonly journal: string[]
  record(): MachineRecord
  /** Ends the run as Ctrl-C does. */
  interrupt(): void
}

/** Starts a session whose record stays in memory. A different number in `run` gives another run. */
export async function nixosSession(
  ssh: Ssh,
  target: SshTarget,
  options: { readonly run?: string; readonly activation?: MachineRecord['activation'] } = {},
): Promise<NixosSession> {
  const ops = await createFakeOps()
  const [provider] = ops.providers.all()
  if (provider === undefined) throw new Error('the made-up operator has no provider')
  const controller = new AbortController()
  const parts = {
    ssh,
    providers: fakeRegistry([{ ...provider, makesMachines: false, target: async () => target }]),
    operator: { ...ops.operator, run: options.run ?? 'r1' },
    signal: controller.signal,
  }
  const deployment = dryRunSession(ops.files, await rememberNetwork(ops))
  const machine = MachineName.parse('web')
  await deployment.putMachine(machine, {
    provider: provider.name,
    os: 'nixos',
    index: 1,
    allocation: {},
    obsolete: false,
    tasks: {},
    keys: {},
    facts: {},
    hostKey: target.hostKey,
    activation: options.activation,
  })
  const journal: string[] = []
  const writing = {
    ...deployment,
    journal: async ({ event, result }: { readonly event: string; readonly result?: string | undefined }) => {
      journal.push(result === undefined ? event : `${event} ${result}`)
    },
  }
  const run = recordingRun(controller.signal)
  const session = recordedMachine({ ...ops, ...parts }, writing, machine, run)
  return {
    session,
    ops,
    lines: run.lines,
    journal,
    record: () => {
      const found = deployment.record.machines[machine]
      if (found === undefined) throw new Error('the machine has no record')
      return found
    },
    interrupt: () => controller.abort(),
  }
}

/** Returns an activation in the form of a machine's record. */
export function recordedActivation(
  run: string,
  path: StorePath,
  bootId: string,
): MachineRecord['activation'] {
  return { unit: `hydra-ops-activation-${run}.service`, path, log: `/var/log/hydra-ops/${run}.log`, bootId }
}
