import type { MachineRecord } from '../src/core/deployment.js'
import { DeploymentName, MachineName, StorePath } from '../src/core/names.js'
import { createStateFolder } from '../state/paths.js'
import { createStore } from '../state/store.js'
import { type Comparison, inTurns } from './measure.js'
import { cli, operatorHost } from './operator-host.js'

const turns = 15

/** What a user waits for before anything happens, against a Node that does nothing. */
export async function startUp(): Promise<Comparison[]> {
  const host = operatorHost()
  try {
    await rememberMachines(host.state, 1_000)
    const bare = () => host.program(process.execPath, ['-e', '0'])
    const version = await inTurns(turns, () => host.program(process.execPath, [cli, '--version']), bare)
    const info = await inTurns(turns, () => host.hydraOps('info', '--no-eval', '--no-probe'), bare)
    return [
      {
        what: '`--version`',
        ...version,
        floor: '`node -e 0`',
        budget: '≤ 1.25 × floor',
        kept: version.ms <= 1.25 * version.floorMs,
      },
      {
        what: '`info --no-eval --no-probe`, 1,000 machines',
        ...info,
        floor: '`node -e 0`',
        budget: '≤ 200 ms',
        kept: info.ms <= 200,
      },
    ]
  } finally {
    host.dispose()
  }
}

async function rememberMachines(root: string, count: number): Promise<void> {
  const operator = { user: 'bench', host: 'bench', command: 'bench', run: 'bench' }
  const store = await createStore({ files: createStateFolder(root, {}), operator, env: {} })
  const name = DeploymentName.parse('many')
  const { uuid } = await store.create({ name, expressions: ['/many.nix'], searchPath: [], args: {} })
  await store.lock(uuid, async (held) => {
    for (let index = 1; index <= count; index++)
      await held.putMachine(MachineName.parse(`m${index}`), machine(index))
  })
}

/** As a deploy leaves a machine behind. */
export function machine(index: number): MachineRecord {
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
