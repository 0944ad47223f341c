import type { Command } from 'commander'
import type { JobsInitialised } from '../operations/jobs-init.js'
import { commonFlags, example } from './flags.js'
import { noSuchAction } from './no-such-action.js'
import type { Cli, CommonFlags } from './verb.js'

interface InitFlags extends CommonFlags {
  readonly repository?: string | undefined
  readonly nixpkgs?: string | undefined
  readonly showTrace?: boolean | undefined
}

/** Registers the actions for the jobs that a Hydra creates from a network. */
export function registerHydraJobs(command: Command, cli: Cli): void {
  command.description('the Hydra jobs of the network: init').argument('[action]', 'the action')
  example(command, 'hydra-ops hydra jobs init -d lab')
  command.action((action: string | undefined) => {
    throw noSuchAction(action ?? '', command)
  })
  const init = command
    .command('init')
    .description("write the files of a jobset into the network's repository, or refresh them")
    .argument('[dir]', 'folder of the network in its repository (default: the root)')
    .option('--repository <value>', 'where Hydra fetches the repository: "URL BRANCH" (default: origin)')
    .option('--nixpkgs <value>', 'where Hydra fetches nixpkgs: "URL BRANCH"')
    .option('--show-trace', 'show the trace of an evaluation error')
  commonFlags(init, { json: true })
  example(
    init,
    'hydra-ops hydra jobs init -d lab',
    'hydra-ops hydra jobs init ./lab --nixpkgs "https://github.com/NixOS/nixpkgs nixos-25.11" -d lab',
  )
  init.action((folder: string | undefined, _: InitFlags, self: Command) => {
    const flags: InitFlags = self.optsWithGlobals()
    return cli.run(flags, async (ops, ui) => {
      const { initJobs } = await import('../operations/jobs-init.js')
      const { deployment, repository, nixpkgs, showTrace = false } = flags
      const made = await initJobs(ops, {
        ...{ deployment, folder, repository, nixpkgs, cwd: process.cwd() },
        nix: { showTrace, options: [] },
      })
      if (ui.json) ui.printJson(made)
      else for (const line of linesOf(made)) ui.print(line)
      return 0
    })
  })
}

/** Describes the changes. The files of hydra-ops itself share one line of the description. */
export function linesOf({
  folder,
  written,
  removed,
  fromGit,
  changedFromGit,
  secretsInGit,
  chosenInputs,
  missingInputs,
}: JobsInitialised): string[] {
  const isOwn = (path: string) => path.startsWith('hydra-ops/')
  const own = written.filter(isOwn).length
  const done = [
    ...written.filter((path) => !isOwn(path)).map((path) => `wrote hydra/${path}`),
    ...(own === 0 ? [] : [`wrote hydra/hydra-ops (${own} ${own === 1 ? 'file' : 'files'})`]),
    ...removed.map((path) => `removed hydra/${path}`),
  ]
  const { network, nixpkgs } = chosenInputs
  const inputs = [
    ...(changedFromGit
      ? [
          'deploys now evaluate only files that git tracks, so a new file needs git add; hydra-ops modify --no-from-git undoes the change',
        ]
      : []),
    ...secretsInGit,
    ...(network === undefined
      ? []
      : [
          `Hydra fetches the network from "${network}", the remote of git; --repository names another address`,
        ]),
    ...(nixpkgs === undefined
      ? []
      : [
          `Hydra fetches nixpkgs from "${nixpkgs}", which is a guess; name yours with --nixpkgs "URL BRANCH"`,
        ]),
    ...missingInputs.map(
      (name) =>
        `add an input '${name}' to the jobsets in hydra/spec.json: hydra-ops does not write its value`,
    ),
  ]
  if (!fromGit)
    inputs.push(
      'deploys evaluate the files without git; hydra-ops modify --from-git lets deploys build what Hydra builds',
    )
  if (done.length === 0) return [`nothing to do: ${folder} matches the network and the state`, ...inputs]
  return [...done, ...inputs, 'commit these files, and push them: Hydra reads the repository']
}
