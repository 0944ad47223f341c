import { DeploymentName } from '../src/core/names.js'
import { createStateFolder } from '../state/paths.js'
import { createStore } from '../state/store.js'
import { rememberMachines } from './many-machines.js'
import { type Comparison, inTurns } from './measure.js'
import { cli, operatorHost } from './operator-host.js'

const turns = 15

/** Compares two quick commands, `--version` and `info` of many machines, with a Node that does nothing. */
export async function startUp(): Promise<Comparison[]> {
  const host = operatorHost()
  try {
    const files = createStateFolder(host.state, {})
    const operator = { user: 'bench', host: 'bench', command: 'bench', run: 'bench' }
    const store = await createStore({ files, operator, env: {} })
    await rememberMachines(store, DeploymentName.parse('many'), 1_000)
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
