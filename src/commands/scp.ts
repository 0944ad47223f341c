import type { Command } from 'commander'
import { commonFlags, example } from './flags.js'
import type { Cli, CommonFlags } from './verb.js'

interface Flags extends CommonFlags {
  readonly from?: string | undefined
  readonly to?: string | undefined
}

export function registerScp(command: Command, cli: Cli): void {
  command
    .argument('<path...>', 'sources, then the destination: local paths, or MACHINE:PATH')
    .option('--from <machine>', 'the sources are on this machine')
    .option('--to <machine>', 'the destination is on this machine')
  commonFlags(command, {})
  example(command, 'hydra-ops scp -d lab web:/etc/hosts ./', 'hydra-ops scp -d lab --to web ./site /var/www')
  command.action((paths: string[], flags: Flags) =>
    cli.run(
      flags,
      async (ops) => {
        const { copyFiles } = await import('../operations/scp.js')
        return copyFiles(ops, { deployment: flags.deployment, from: flags.from, to: flags.to, paths })
      },
      { handsOver: true },
    ),
  )
}
