import { type Command, InvalidArgumentError } from 'commander'
import { readAge } from '../core/ages.js'
import { usageError } from '../core/errors.js'
import { pause } from '../core/pause.js'
import type { HydraChange } from '../operations/hydra-changes.js'
import { commonFlags, example, positive } from './flags.js'
import type { Cli, CommonFlags } from './verb.js'

interface AskFlags extends CommonFlags {
  readonly url?: string | undefined
  readonly gate?: string | undefined
}

interface StatusFlags extends AskFlags {
  readonly watch?: boolean | undefined
  readonly every?: number | undefined
}

interface CheckFlags extends AskFlags {
  readonly maxAge?: string | undefined
  readonly stuckAfter?: string | undefined
}

interface ChangeFlags extends AskFlags {
  readonly user?: string | undefined
  readonly passwordFile?: string | undefined
  readonly passwordStdin?: boolean | undefined
}

/** Seconds between two looks of `--watch`. */
const watchSeconds = 10

const placeText = 'PROJECT, PROJECT:JOBSET or PROJECT:JOBSET:JOB'

/** Registers the actions that query a Hydra or change its builds. None of them writes to the state. */
export function registerHydraAsk(hydra: Command, cli: Cli): void {
  registerStatus(hydra.command('status'), cli)
  registerLog(hydra.command('log'), cli)
  registerCheck(hydra.command('check'), cli)
  registerPrometheus(hydra.command('prometheus'), cli)
  registerEval(hydra.command('eval'), cli)
  registerBuildChange(hydra.command('restart'), cli, 'restart')
  registerBuildChange(hydra.command('cancel'), cli, 'cancel')
}

function askFlags(command: Command, kinds: { readonly gate?: boolean; readonly json?: boolean }): void {
  command.option('--url <url>', 'URL of Hydra (default: the Hydra of the deployment)')
  if (kinds.gate === true) command.option('--gate <job>', 'job that judges an evaluation (default: release)')
  commonFlags(command, { json: kinds.json ?? false })
}

function registerStatus(command: Command, cli: Cli): void {
  command
    .description('show evaluations, their errors, the queue and the last green gate')
    .argument('[place]', `${placeText} (default: everything)`)
    .option('--watch', 'refresh the output until Ctrl-C')
    .option('--every <seconds>', `seconds between refreshes (default: ${watchSeconds})`, positive)
  askFlags(command, { gate: true, json: true })
  example(
    command,
    'hydra-ops hydra status -d lab',
    'hydra-ops hydra status infra:main --url https://hydra.example.org --watch',
  )
  command.action((place: string | undefined, _: StatusFlags, self: Command) => {
    const flags: StatusFlags = self.optsWithGlobals()
    return cli.run(flags, async (ops, ui) => {
      const { hydraStatus } = await import('../operations/hydra-status.js')
      const { hydraStatusView } = await import('../ui/hydra-view.js')
      const { deployment, url, gate = 'release' } = flags
      for (;;) {
        const status = await hydraStatus(ops, { deployment, url, place, gate })
        if (ui.json) ui.printJson(status)
        else ui.print(hydraStatusView(status, ops.now(), ui.style))
        if (flags.watch !== true) return 0
        await pause((flags.every ?? watchSeconds) * 1_000, ops.signal)
        if (!ui.json) ui.print('')
      }
    })
  })
}

function registerLog(command: Command, cli: Cli): void {
  command.description('print the log of a build').argument('<build>', 'number of the build', buildNumber)
  askFlags(command, {})
  example(command, 'hydra-ops hydra log 4711 -d lab')
  command.action((build: number, _: AskFlags, self: Command) => {
    const flags: AskFlags = self.optsWithGlobals()
    return cli.run(flags, async (ops, ui) => {
      const { hydraLog } = await import('../operations/hydra-status.js')
      const { printableLines } = await import('../ui/printable.js')
      ui.print(printableLines(await hydraLog(ops, choiceOf(flags), build)).join('\n'))
      return 0
    })
  })
}

function registerCheck(command: Command, cli: Cli): void {
  command
    .description('look for trouble; exit status 0: all is well, 1: something is wrong')
    .argument('<place>', placeText)
    .option('--max-age <time>', 'maximum age of the last success (36h, 2d)')
    .option(
      '--stuck-after <time>',
      'time after which a waiting or running evaluation counts as stuck (default: 1h)',
    )
  askFlags(command, { gate: true, json: true })
  example(command, 'hydra-ops hydra check infra:main --max-age 2d -d lab')
  command.action((place: string, _: CheckFlags, self: Command) => {
    const flags: CheckFlags = self.optsWithGlobals()
    return cli.run(flags, async (ops, ui) => {
      const { checkHydra } = await import('../operations/hydra-check.js')
      const problems = await checkHydra(ops, {
        ...choiceOf(flags),
        place,
        gate: flags.gate ?? 'release',
        maxAge: flags.maxAge === undefined ? undefined : readAge(flags.maxAge, '--max-age'),
        stuckAfter: readAge(flags.stuckAfter ?? '1h', '--stuck-after'),
      })
      if (ui.json) ui.printJson({ ok: problems.length === 0, problems })
      else ui.print(problems.length === 0 ? `${place}: all is well` : problems.join('\n'))
      return problems.length === 0 ? 0 : 1
    })
  })
}

function registerPrometheus(command: Command, cli: Cli): void {
  command
    .description('print a Prometheus scrape configuration for all jobs')
    .argument('[place]', `${placeText} (default: everything)`)
  askFlags(command, {})
  example(command, 'hydra-ops hydra prometheus infra -d lab')
  command.action((place: string | undefined, _: AskFlags, self: Command) => {
    const flags: AskFlags = self.optsWithGlobals()
    return cli.run(flags, async (ops, ui) => {
      const { hydraScrapes } = await import('../operations/hydra-status.js')
      ui.print(await hydraScrapes(ops, choiceOf(flags), place))
      return 0
    })
  })
}

function registerEval(command: Command, cli: Cli): void {
  command.description('request an evaluation now').argument('<jobset>', 'PROJECT:JOBSET')
  changeFlags(command, 'eval-jobset')
  example(command, 'hydra-ops hydra eval infra:main --user alice -d lab')
  command.action((jobset: string, _: ChangeFlags, self: Command) => {
    const flags: ChangeFlags = self.optsWithGlobals()
    return cli.run(flags, async (ops, ui) => {
      const { evaluateJobset } = await import('../operations/hydra-changes.js')
      await evaluateJobset(ops, changeOf(flags), jobset)
      ui.remark(`Hydra evaluates ${jobset}; hydra-ops hydra status ${jobset} shows the result`)
      return 0
    })
  })
}

function registerBuildChange(command: Command, cli: Cli, verb: 'restart' | 'cancel'): void {
  command.description(`${verb} a build`).argument('<build>', 'number of the build', buildNumber)
  changeFlags(command, verb === 'restart' ? 'restart-jobs' : 'cancel-build')
  example(command, `hydra-ops hydra ${verb} 4711 --user alice -d lab`)
  command.action((build: number, _: ChangeFlags, self: Command) => {
    const flags: ChangeFlags = self.optsWithGlobals()
    return cli.run(flags, async (ops, ui) => {
      const { changeHydraBuild } = await import('../operations/hydra-changes.js')
      await changeHydraBuild(ops, changeOf(flags), verb, build)
      ui.remark(verb === 'restart' ? `build ${build} is queued again` : `build ${build} is cancelled`)
      return 0
    })
  })
}

function changeFlags(command: Command, role: string): void {
  command
    .option('--user <name>', `user of Hydra with the role ${role}`)
    .option('--password-file <file>', 'read the password from a file (default: the generated one, or ask)')
    .option('--password-stdin', 'read the password from standard input')
  askFlags(command, {})
}

function changeOf(flags: ChangeFlags): HydraChange {
  const { user, passwordFile, passwordStdin } = flags
  if (user === undefined) throw usageError('this command needs a user of Hydra', { hint: 'add --user NAME' })
  if (passwordFile !== undefined && passwordStdin === true)
    throw usageError('choose one source of the password: --password-file or --password-stdin')
  return {
    ...choiceOf(flags),
    user,
    password:
      passwordFile !== undefined
        ? { kind: 'file', path: passwordFile }
        : { kind: passwordStdin === true ? 'stdin' : 'generate' },
  }
}

function choiceOf({ deployment, url }: AskFlags) {
  return { deployment, url }
}

function buildNumber(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text)
  throw new InvalidArgumentError('expected the number of a build')
}
