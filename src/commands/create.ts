import type { Command } from 'commander'
import { collect, collectPair, commonFlags, example } from './flags.js'
import { argumentsOf, type PairFlags } from './nix-flags.js'
import type { Cli, CommonFlags } from './verb.js'

interface Flags extends CommonFlags, PairFlags {
  readonly name?: string | undefined
  readonly I?: string[] | undefined
  readonly fromGit?: boolean | undefined
  readonly orModify?: boolean | undefined
}

export function registerCreate(command: Command, cli: Cli): void {
  command
    .argument('<file...>', 'files of the network expression, merged machine by machine')
    .option('-n, --name <name>', 'name of the deployment')
    .option('-d, --deployment <name>', 'same as --name')
    .option('-I <path>', 'add to the Nix search path: PATH or NAME=PATH', collect)
    .option('--arg <name> <value>', 'argument of the network expression, as Nix text', collectPair)
    .option('--argstr <name> <value>', 'argument of the network expression, as a string', collectPair)
    .option('--from-git', 'evaluate only the files that git tracks, as Hydra does')
    .option('--or-modify', 'change the deployment of that name if the deployment exists')
  commonFlags(command, { deployment: false, json: true })
  example(command, 'hydra-ops create ./network.nix ./network-libvirt.nix -d lab')
  command.action((files: string[], flags: Flags) =>
    cli.run(flags, async (ops, ui) => {
      const { createDeployment } = await import('../operations/create.js')
      const { deployment, created } = await createDeployment(ops, {
        files,
        folder: process.cwd(),
        name: flags.name ?? flags.deployment,
        searchPath: flags.I ?? [],
        args: await argumentsOf(flags),
        fromGit: flags.fromGit,
        orModify: flags.orModify ?? false,
      })
      const { uuid, name } = deployment
      if (ui.json) ui.printJson({ uuid, name, created })
      else ui.print(uuid)
      ui.remark(`${created ? 'created' : 'modified'} deployment ${name === undefined ? uuid : `'${name}'`}`)
      return 0
    }),
  )
}
