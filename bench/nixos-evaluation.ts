import { readdirSync, readFileSync } from 'node:fs'
import { createEvaluator } from '../nix/evaluate.js'
import { createNixCommand } from '../nix/nix-command.js'
import { createSshProvider } from '../providers/ssh/index.js'
import { bindProvider } from '../src/core/bind-provider.js'
import { localCommands } from '../src/exec/local-commands.js'
import { createSsh } from '../src/ssh/create-ssh.js'
import { inTurns } from './measure.js'
import { nixosNetwork, standInNixpkgs } from './network.js'
import { operatorHost } from './operator-host.js'

const unlimited = 1024 ** 4
const gib = 1024 ** 3

/**
 * Measures evaluations of NixOS machines against a plain `nix-instantiate`: times, number of evaluations, peak
 * memory.
 */
export async function nixosEvaluation(): Promise<string> {
  const rows = [
    '| NixOS machines | memory | ms | `nix-instantiate` of the toplevels | ratio | evaluations | peak MiB |',
    '| --- | --- | --- | --- | --- | --- | --- |',
  ]
  for (const machines of [50, 200]) {
    for (const limit of [unlimited, gib]) rows.push(await measure(machines, limit))
  }
  return rows.join('\n')
}

async function measure(machines: number, limit: number): Promise<string> {
  const host = operatorHost()
  try {
    const address = (index: number) => `    deployment.targetHost = "127.0.0.${index % 250}";`
    const file = host.write('network.nix', nixosNetwork(machines, address))
    const plain = host.write('plain.nix', plainly(file))
    const used = peakMemory()
    let evaluations = 0
    const evaluate = createEvaluator({
      command: createNixCommand({
        local: {
          ...localCommands,
          run: (argv, options) => {
            if (argv[0] === 'nix-instantiate') evaluations++
            return localCommands.run(argv, options)
          },
        },
        stateRoot: host.state,
        env: host.env,
      }),
      providers: [
        bindProvider(
          createSshProvider({
            ssh: createSsh({ local: localCommands, env: host.env, homeDir: host.folder }),
          }),
        ),
      ],
      available: () => limit,
      cwd: '/',
    })
    const run = { signal: new AbortController().signal, log: () => {} }
    const ours = async () => {
      evaluations = 0
      await used.during(() =>
        evaluate(
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
        ),
      )
    }
    const floor = async () => {
      const argv = ['nix-instantiate', '--eval', '--strict', '--json', '--readonly-mode', plain]
      const env = { ...host.env, NIX_REMOTE: 'dummy://' }
      const result = await localCommands.run(argv, {
        signal: run.signal,
        timeoutMs: 600_000,
        what: 'evaluate',
        env,
      })
      if (result.kind !== 'exited' || result.code !== 0) throw new Error(result.stderr)
    }
    const { ms, floorMs } = await inTurns(3, ours, floor)
    const memory = limit === unlimited ? 'no limit' : `${limit / 1024 ** 2} MiB free`
    const peak = Math.round(used.kib() / 1024)
    return `| ${machines} | ${memory} | ${ms.toFixed(0)} | ${floorMs.toFixed(0)} | ${(ms / floorMs).toFixed(2)} | ${evaluations} | ${peak} |`
  } finally {
    host.dispose()
  }
}

/** Returns the expression that a user without hydra-ops would evaluate: the toplevel of each machine. */
function plainly(network: string): string {
  return `let
  machines = removeAttrs (import ${network}) [ "network" ];
  unknown = { lib, ... }: { options.deployment.targetHost = lib.mkOption { }; };
  toplevel = name: machine: (import ${standInNixpkgs}/nixos/lib/eval-config.nix {
    system = "x86_64-linux";
    modules = [ unknown { _module.args.name = name; } machine ];
  }).config.system.build.toplevel.drvPath;
in builtins.mapAttrs toplevel machines
`
}

/** Watches the peak resident memory of the `nix-instantiate` processes that this process starts. */
function peakMemory() {
  let most = 0
  const look = () => {
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
      try {
        const status = readFileSync(`/proc/${pid}/status`, 'utf8')
        if (!/^Name:\s+nix-instantiate$/m.test(status) || !status.includes(`\nPPid:\t${process.pid}\n`))
          continue
        most = Math.max(most, Number(/^VmHWM:\s+(\d+)/m.exec(status)?.[1] ?? 0))
      } catch {
        // The process has ended in the meantime.
      }
    }
  }
  return {
    kib: () => most,
    during: async (action: () => Promise<unknown>) => {
      const timer = setInterval(look, 10)
      try {
        await action()
      } finally {
        clearInterval(timer)
      }
    },
  }
}
