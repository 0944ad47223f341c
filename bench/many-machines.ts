import type { MachineRecord } from '../src/core/deployment.js'
import { type DeploymentName, type DeploymentUuid, MachineName, StorePath } from '../src/core/names.js'
import { settleAll } from '../src/core/settle.js'
import type { DeploymentStore } from '../src/core/store.js'

/** Stores a deployment of `count` machines, named `m1`, `m2` and so on. */
export async function rememberMachines(
  store: DeploymentStore,
  name: DeploymentName,
  count: number,
): Promise<DeploymentUuid> {
  const { uuid } = await store.create({ name, expressions: ['/many.nix'], searchPath: [], args: {} })
  await store.lock(uuid, (session) =>
    settleAll(
      Array.from({ length: count }, (_, at) =>
        session.putMachine(MachineName.parse(`m${at + 1}`), machine(at + 1)),
      ),
    ),
  )
  return uuid
}

/** Returns a machine's record as a deploy leaves it. */
function machine(index: number): MachineRecord {
  const path = `/nix/store/${String(index).padStart(32, '0')}-hydra-ops-profile`
  return {
    provider: 'ssh',
    os: 'debian',
    index,
    allocation: {},
    handle: {},
    config: {},
    hostKey: 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA',
    target: {
      host: `host-${index}.example.org`,
      sshOptions: [],
      privilegeEscalation: ['sudo', '-H', '--'],
    },
    obsolete: false,
    deployed: { path: StorePath.parse(path), at: '2026-01-01T00:00:00Z', run: 'bench', files: {}, units: {} },
    tasks: { nix: { inputs: 'x', outputs: { version: '2.8.0' }, at: '2026-01-01T00:00:00Z' } },
    keys: {},
    facts: { osRelease: 'Debian GNU/Linux 12 (bookworm)', bootId: 'x', nixVersion: '2.8.0' },
    lastResult: 'unchanged',
  }
}
