import type { Command } from 'commander'
import { commonFlags, example } from './flags.js'
import type { Cli, CommonFlags } from './verb.js'

export function registerSsh(command: Command, cli: Cli): void {
  command
    .argument('<machine>', 'the machine, or USER@MACHINE')
    .argument('[args...]', 'flags and a command, as ssh takes them after the host name')
  commonFlags(command, {})
  example(command, 'hydra-ops ssh -d lab web', "hydra-ops ssh -d lab web -- 'systemctl --failed | head'")
  command.action((who: string, args: string[], flags: CommonFlags) =>
    cli.run(
      flags,
      async (ops) => {
        const { sshSession } = await import('../operations/ssh-session.js')
        return sshSession(ops, { deployment: flags.deployment, who, args })
      },
      { handsOver: true },
    ),
  )
}
