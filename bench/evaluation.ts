import { createNix } from '../nix/nix.js'
import { createSshProvider } from '../providers/ssh/index.js'
import { bindProvider } from '../src/core/bind-provider.js'
import type { LocalCommands } from '../src/core/context.js'
import { localCommands } from '../src/exec/local-commands.js'
import { createSsh } from '../src/ssh/create-ssh.js'
import { type Comparison, inTurns } from './measure.js'
import { debianNetwork } from './network.js'
import { operatorHost } from './operator-host.js'

type RunCommand = Parameters<LocalCommands['run']>

/** Compares evaluation and validation of a network with a bare run of the same `nix-instantiate` command. */
export async function evaluation(): Promise<Comparison[]> {
  const rows: Comparison[] = []
  for (const [machines, turns] of [
    [10, 7],
    [50, 5],
    [200, 3],
  ] as const) {
    rows.push(await measureNetwork(machines, turns))
  }
  return rows
}

async function measureNetwork(machines: number, turns: number): Promise<Comparison> {
  const host = operatorHost()
  try {
    const file = host.write(
      'network.nix',
      debianNetwork(machines, (index) => `    deployment.targetHost = "host-${index}.example.org";`),
    )
    const commands: RunCommand[] = []
    const local: LocalCommands = {
      ...localCommands,
      run: (...command) => {
        commands.push(command)
        return localCommands.run(...command)
      },
    }
    const ssh = createSsh({ local, env: host.env, homeDir: host.folder })
    const providers = [bindProvider(createSshProvider({ ssh }))]
    const nix = createNix({ local, stateRoot: host.state, env: host.env, providers, cwd: '/' })
    const run = { signal: new AbortController().signal, log: () => {} }
    const ours = async () => {
      commands.length = 0
      await nix.evaluate(
        {
          files: [file],
          searchPath: [],
          args: {},
          deployment: { uuid: '00000000-0000-4000-8000-000000000000', name: 'bench' },
          physical: {},
          mode: 'read',
          flags: { showTrace: false, options: [] },
        },
        run,
      )
    }
    await ours()
    const alone = [...commands]
    const floor = async () => {
      for (const command of alone) await localCommands.run(...command)
    }
    const times = await inTurns(turns, ours, floor)
    return {
      what: `evaluation of ${machines} machines`,
      ...times,
      floor: '`nix-instantiate` alone',
      budget: 'once',
      kept: alone.length === 1,
    }
  } finally {
    host.dispose()
  }
}
