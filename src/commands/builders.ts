import { type Command, Option } from 'commander'
import type { Ops } from '../core/context.js'
import type { MachineResult } from '../core/events.js'
import { commonFlags, example, maxConcurrentOf, positive } from './flags.js'
import { noSuchAction } from './no-such-action.js'
import { showResults } from './run-on-machines.js'
import { machinesStatus } from './statuses.js'
import type { Cli, CommonFlags } from './verb.js'

type Flags = CommonFlags & {
  readonly deadline?: number | undefined
  readonly frozenAfter?: number | undefined
}

/** Minutes that running builds get if no flag sets a deadline. */
const usualDeadline = 60
/** Age in hours from which a build counts as frozen. Hydra uses the same limit for builds without a meta.timeout. */
const usualFrozen = 10
/** Milliseconds without a build, after which no queue runner uses an old list. */
const idleMs = 40_000

export function registerBuilders(command: Command, cli: Cli): void {
  command.argument('[action]', 'the action (default: list the builders)')
  commonFlags(command, { json: true, plain: true })
  example(command, 'hydra-ops builders -d lab', 'hydra-ops builders drain b1 -d lab')
  command.action((action: string | undefined, flags: Flags) => {
    if (action !== undefined) throw noSuchAction(action, command)
    return list(cli, flags)
  })

  const listing = part(command, 'list', 'list the builders, and the machines that build there')
  listing.addOption(
    new Option('--frozen-after <hours>', 'age from which a build counts as frozen')
      .argParser(positive)
      .default(usualFrozen),
  )
  example(
    listing,
    'hydra-ops builders list --json -d lab',
    'hydra-ops builders list --frozen-after 24 -d lab',
  )
  listing.action((_: Flags, self: Command) => list(cli, self.optsWithGlobals()))

  const test = part(command, 'test [builder]', 'build on each builder as its users do')
  example(test, 'hydra-ops builders test -d lab', 'hydra-ops builders test b1 -d lab')
  test.action((builder: string | undefined, _: Flags, self: Command) =>
    onUsers(cli, self.optsWithGlobals(), async (ops, request) =>
      (await import('../operations/builders.js')).testBuilders(ops, { ...request, builder }),
    ),
  )

  registerWhy(command, cli)

  const machines = part(command, 'machines', "print the builders of this host, for root's list of builders")
  example(machines, 'hydra-ops builders machines -d lab | sudo tee -a /etc/nix/machines')
  machines.action((_: Flags, self: Command) => showHostLines(cli, self.optsWithGlobals()))

  const drain = part(
    command,
    'drain <builder>',
    'give the builder no new builds, and wait for the running ones',
  )
  drain.addOption(
    new Option('--deadline <minutes>', 'time for running builds').argParser(positive).default(usualDeadline),
  )
  example(drain, 'hydra-ops builders drain b1 -d lab', 'hydra-ops builders drain b1 --deadline 120 -d lab')
  drain.action((builder: string, _: Flags, self: Command) => {
    const flags: Flags = self.optsWithGlobals()
    const deadlineMs = (flags.deadline ?? usualDeadline) * 60_000
    return onUsers(cli, flags, async (ops, request) => {
      const { drainBuilder } = await import('../operations/builders.js')
      return drainBuilder(ops, { ...request, builder, deadlineMs, idleMs, pauseMs: 2_000 })
    })
  })

  const resume = part(command, 'resume <builder>', 'test the builder, and give it builds again')
  example(resume, 'hydra-ops builders resume b1 -d lab')
  resume.action((builder: string, _: Flags, self: Command) =>
    onUsers(cli, self.optsWithGlobals(), async (ops, request) =>
      (await import('../operations/builders.js')).resumeBuilder(ops, { ...request, builder }),
    ),
  )
}

interface WhyFlags extends CommonFlags {
  readonly machine?: string | undefined
  readonly here?: boolean | undefined
}

function registerWhy(command: Command, cli: Cli): void {
  const why = part(command, 'why <derivation>', 'explain why a derivation is not built')
  why
    .option(
      '--machine <name>',
      'machine that needs the derivation (required if several machines have builders)',
    )
    .option('--here', 'query the Nix of this host instead')
  example(
    why,
    'hydra-ops builders why /nix/store/…-x.drv -d lab',
    'hydra-ops builders why /nix/store/…-x.drv --here',
  )
  why.action((derivation: string, _: WhyFlags, self: Command) => {
    const flags: WhyFlags = self.optsWithGlobals()
    return cli.run(flags, async (ops, ui) => {
      const { buildersWhy } = await import('../operations/builders-why.js')
      const { deployment, machine, here = false } = flags
      const why = await buildersWhy(ops, { deployment, machine, here, derivation })
      await ui.settle()
      if (ui.json) ui.printJson(why)
      else ui.print((await import('../ui/builders-view.js')).whyView(why, ui.style))
      return why.hindered ? 1 : 0
    })
  })
}

function part(command: Command, words: string, description: string): Command {
  const each = command.command(words).description(description)
  commonFlags(each, { json: true, plain: true })
  return each
}

function list(cli: Cli, flags: Flags): Promise<void> {
  return cli.run(flags, async (ops, ui) => {
    const { listRunning } = await import('../operations/builders.js')
    const { deployment, frozenAfter = usualFrozen } = flags
    const rows = await listRunning(ops, { deployment, frozenAfterMs: frozenAfter * 3_600_000 })
    await ui.settle()
    if (ui.json) ui.printJson(rows)
    else if (rows.length > 0) ui.print((await import('../ui/builders-view.js')).buildersView(rows, ui))
    else if (!ui.plain) ui.announce('no machine of the deployment builds for another one')
    return 0
  })
}

/** Prints the lines for root's list of builders. A notice shows root's remaining steps. */
function showHostLines(cli: Cli, flags: CommonFlags): Promise<void> {
  return cli.run(flags, async (ops, ui) => {
    const { hostLines } = await import('../operations/operator-builders.js')
    const { lines, ...more } = await hostLines(ops, flags.deployment)
    await ui.settle()
    if (ui.json) ui.printJson({ lines, ...more })
    else {
      ui.print(lines.join('\n'))
      if (more.sshBlocks.length > 0)
        ui.announce(
          `root's ssh needs these lines in /etc/ssh/ssh_config.d/hydra-ops.conf:\n${more.sshBlocks.join('')}`,
        )
    }
    return 0
  })
}

function onUsers(
  cli: Cli,
  flags: Flags,
  work: (
    ops: Ops,
    request: { readonly deployment: string | undefined; readonly maxConcurrent: number },
  ) => Promise<MachineResult[]>,
): Promise<void> {
  return cli.run(flags, async (ops, ui) => {
    const maxConcurrent = maxConcurrentOf({}, await ops.store.preferences())
    const results = await work(ops, { deployment: flags.deployment, maxConcurrent })
    await ui.settle()
    if (ui.json) ui.printJson(results)
    else await showResults(ui, results, 'there was nothing to do')
    return machinesStatus(results)
  })
}
