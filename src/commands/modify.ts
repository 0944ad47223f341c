import type { Command } from 'commander'
import { collect, commonFlags, example } from './flags.js'
import type { Cli, CommonFlags } from './verb.js'

interface Flags extends CommonFlags {
  readonly name?: string | undefined
  readonly I?: string[] | undefined
  readonly fromGit?: boolean | undefined
}

export function registerModify(command: Command, cli: Cli): void {
  command
    .argument('[file...]', 'files that replace the remembered files')
    .option('-n, --name <name>', 'new name')
    .option('-I <path>', 'Nix search path that replaces the remembered one', collect)
    .option('--from-git', 'evaluate only the files that git tracks, as Hydra does')
    .option('--no-from-git', 'evaluate the files without git')
  commonFlags(command, { json: true })
  example(
    command,
    'hydra-ops modify -d lab ./network.nix ./network-ssh.nix',
    'hydra-ops modify -d lab -n lab-old',
  )
  command.action((files: string[], flags: Flags) =>
    cli.run(flags, async (ops, ui) => {
      const { modifyDeployment } = await import('../operations/modify.js')
      const { uuid, name } = await modifyDeployment(ops, {
        deployment: flags.deployment,
        name: flags.name,
        files,
        folder: process.cwd(),
        searchPath: flags.I ?? [],
        args: {},
        fromGit: flags.fromGit,
      })
      if (ui.json) ui.printJson({ uuid, name })
      ui.remark(`modified deployment '${name ?? uuid}'; hydra-ops deploy applies the change to the machines`)
      return 0
    }),
  )
}
