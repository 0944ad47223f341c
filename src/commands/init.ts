import { type Command, Option } from 'commander'
import type { HydraFlags } from '../operations/init/hydra-answers.js'
import { commonFlags, example } from './flags.js'
import { noSuchAction } from './no-such-action.js'
import type { Cli, CommonFlags } from './verb.js'

export function registerInit(command: Command, cli: Cli): void {
  command.argument('[template]', 'the template to write (default: list all templates)')
  commonFlags(command, { deployment: false, json: true, plain: true })
  example(command, 'hydra-ops init', 'hydra-ops init hydra ./hydra.nix')
  command.action((template: string | undefined, flags: CommonFlags) => {
    if (template !== undefined) throw noSuchAction(template, command)
    return cli.run(flags, async (_, ui) => {
      const { templates } = await import('../operations/init/templates.js')
      if (ui.json) ui.printJson(templates)
      else ui.print((await import('../ui/list-view.js')).templatesView(templates, ui.plain))
      return 0
    })
  })
  registerInitHydra(command.command('hydra'), cli)
}

function registerInitHydra(command: Command, cli: Cli): void {
  command
    .description('write a network expression with a whole Hydra')
    .summary('a whole Hydra on one Debian machine')
    .argument('[file]', 'path of the new file', './hydra.nix')
    .addOption(
      new Option(
        '--provider <provider>',
        'libvirtd = a new guest of this host (default), none = an existing host, by SSH',
      ).choices(['libvirtd', 'none']),
    )
    .option('--target-host <host>', 'with none: address of the host, or its name in ~/.ssh/config')
    .option(
      '--host-name <name>',
      'host name of Hydra (default of a guest: hydra.localhost, which is this host)',
    )
    .option('--http-port <n>', 'with libvirtd: port of this host for the web interface (default: 8080)')
    .option('--admin <name>', 'name of the first user, the administrator')
    .option('--full-name <text>', 'full name of that user')
    .option('--email <address>', 'mail address of that user')
    .option(
      '--password <source>',
      'generate = a random password (default), prompt = deploy asks, file:PATH = deploy reads the file; never the password itself',
    )
    .option(
      '--package <expr>',
      'package of Hydra: a store path, or a Nix expression with paths relative to the new file (default: the package of nixpkgs)',
    )
  commonFlags(command, { deployment: false, json: true })
  command.addHelpText(
    'after',
    '\nhydra-ops asks at a terminal for every missing value if a flag without a default is missing\n(--admin; for provider none also --target-host and --host-name).',
  )
  example(
    command,
    'hydra-ops init hydra',
    'hydra-ops init hydra ./hydra.nix --admin alice',
    'hydra-ops init hydra --provider none --target-host ci.example.org --host-name hydra.example.org --admin alice',
  )
  command.action((file: string, own: CommonFlags & HydraFlags, self: Command) => {
    const flags: CommonFlags = self.optsWithGlobals()
    return cli.run(flags, async (ops, ui) => {
      const { initHydra } = await import('../operations/init/init-hydra.js')
      const written = await initHydra(ops, { file, folder: process.cwd(), state: flags.state, flags: own })
      ui.remark(`wrote ${file}; check the file, then run:`)
      if (ui.json) ui.printJson(written)
      else ui.print(written.next.join('\n'))
      return 0
    })
  })
}
