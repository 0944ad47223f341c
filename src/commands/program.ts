import { Command, CommanderError } from 'commander'
import type { Ops } from '../core/context.js'
import { interrupted, OpsError, usageError } from '../core/errors.js'
import { onAbort } from '../core/on-abort.js'
import { reportError } from '../ui/report-error.js'
import { createUi, type Ui, type World } from '../ui/ui.js'
import { joinPairs, splitArgv } from './argv.js'
import { hintForFlag, hintForVerb, hintForWords } from './peers.js'
import type { Cli, CommonFlags, Verb } from './verb.js'
import { verbs } from './verbs.js'

/** Facts that are needed to build the context. */
export interface OpenRequest {
  readonly state: string | undefined
  readonly signal: AbortSignal
  readonly ui: Ui
  /** The command line as the user wrote it, for the journal. */
  readonly argv: readonly string[]
  /** Whether to load the provider plugins of the preferences. */
  readonly plugins: boolean
}

export interface ProgramOptions {
  readonly signal: AbortSignal
  openOps(request: OpenRequest): Promise<Ops>
  /** The streams and environment. Default: those of the process. */
  readonly world?: World
}

/** Runs one command line. Returns its exit status, and shows every error itself. */
export async function runProgram(argv: readonly string[], options: ProgramOptions): Promise<number> {
  const { stderr, env } = options.world ?? processWorld()
  const { verb: name, rest } = splitArgv(argv)
  const verb = verbs.find((each) => each.name === name)
  try {
    return await dispatch(verb, { argv, rest, name }, options)
  } catch (error) {
    const code = reportError(toOpsError(error, verb, rest), {
      debug: argv.includes('--debug'),
      colour: !argv.includes('--no-color'),
      env,
      stderr,
    })
    return verb?.statusOf?.(code) ?? code
  }
}

function processWorld(): World {
  const { stdin, stdout, stderr, env } = process
  return { stdin, stdout, stderr, env }
}

interface Call {
  readonly argv: readonly string[]
  readonly name: string | undefined
  readonly rest: readonly string[]
}

async function dispatch(verb: Verb | undefined, call: Call, options: ProgramOptions): Promise<number> {
  const { stdout } = options.world ?? processWorld()
  const program = skeleton((text) => void stdout.write(text))
  if (verb === undefined) {
    const asksForHelp = call.rest.some((word) => word === '--help' || word === '-h')
    if (call.name === undefined && asksForHelp) return help(program)
    throw noSuchVerb(call.name, call.rest)
  }
  let status = 0
  const cli = cliFor(call.argv, options, (code) => {
    status = code
  })
  const command = program.commands.find((each) => each.name() === verb.name)
  if (command === undefined) throw new Error(`verb ${verb.name} has no command`)
  if (verb.passThrough === true) command.passThroughOptions()
  const register = await verb.load()
  register(command, cli)
  const words = verb.passThrough === true ? call.rest : joinPairs(call.rest)
  try {
    await program.parseAsync([verb.name, ...words], { from: 'user' })
  } catch (error) {
    // commander "throws" even after it has shown the requested help.
    if (!(error instanceof CommanderError) || error.exitCode !== 0) throw error
  }
  return status
}

function help(program: Command): number {
  program.outputHelp()
  return 0
}

/**
 * Creates the command with the names of all verbs. Only the file of the called verb is loaded, and completes that
 * verb.
 */
function skeleton(writeOut: (text: string) => void): Command {
  const program = new Command('hydra-ops')
    .description('Provision machines from a Nix network expression and deploy to them.')
    .usage('VERB [options]')
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({ writeOut, writeErr: () => {}, outputError: () => {} })
    .helpCommand(false)
    .addHelpText('after', '\nhydra-ops VERB --help explains a verb; hydra-ops --version prints the version.')
  for (const verb of verbs) program.command(verb.name).description(verb.summary).helpGroup(verb.group)
  return program
}

function cliFor(argv: readonly string[], options: ProgramOptions, ended: (status: number) => void): Cli {
  const { signal, world = processWorld() } = options
  return {
    run: async (flags: CommonFlags, action, how = {}) => {
      const ui = await createUi({
        json: flags.json ?? false,
        plain: flags.plain ?? false,
        colour: flags.color,
        signal,
        ...world,
      })
      const say = () =>
        ui.events.emit({
          kind: 'notice',
          text: 'interrupted; hydra-ops is shutting down cleanly, and a second Ctrl-C ends hydra-ops at once',
        })
      const stopListening = how.handsOver === true ? () => {} : onAbort(signal, say)
      try {
        const ops = await options.openOps({
          state: flags.state,
          signal,
          ui,
          argv,
          plugins: how.plugins ?? true,
        })
        ended((await actAndExplain(ops, () => action(ops, ui))) ?? 0)
      } catch (error) {
        // An error after the user's cancellation is only a consequence of the cancellation.
        throw signal.aborted && !(error instanceof OpsError)
          ? interrupted('interrupted', { cause: error })
          : error
      } finally {
        stopListening()
        await ui.settle()
      }
    },
  }
}

/** Runs the action. If this host caused a failure, the error explains the cause. */
async function actAndExplain<T>(ops: Ops, action: () => Promise<T>): Promise<T> {
  try {
    return await action()
  } catch (error) {
    const { explained } = await import('../machine/explain-failure.js')
    throw await explained(ops, error)
  }
}

function noSuchVerb(name: string | undefined, rest: readonly string[]): Error {
  const list = 'hydra-ops --help lists the verbs'
  if (name === undefined && rest.length > 0) {
    return usageError(`the verb is missing before '${rest.join(' ')}'`, { hint: list })
  }
  if (name === undefined) return usageError('the verb is missing', { hint: list })
  return usageError(`there is no verb '${name}'`, { hint: hintForVerb(name) ?? list })
}

/**
 * Converts commander's errors to usage errors, mostly with commander's own sentence. The hint is for users of another
 * tool, commander's suggestion, or the help command.
 */
function toOpsError(error: unknown, verb: Verb | undefined, words: readonly string[]): unknown {
  if (!(error instanceof CommanderError)) return error
  // commander would otherwise show the help as an error.
  if (error.code === 'commander.help')
    return usageError(`the action of '${verb?.name ?? ''}' is missing`, {
      hint: `hydra-ops ${verb?.name ?? ''} --help`,
      cause: error,
    })
  const [first = '', ...more] = error.message.replace(/^error: /, '').split('\n')
  const suggestion = /Did you mean (.*?)\??\)?$/.exec(more.join(' '))?.[1]
  const flag = /^unknown option '(--?[^'=]+)/.exec(first)?.[1]
  const own =
    flag !== undefined
      ? hintForFlag(flag)
      : error.code === 'commander.excessArguments'
        ? hintForWords(words, verb?.name)
        : undefined
  const general =
    suggestion === undefined ? `hydra-ops ${verb?.name ?? ''} --help` : `did you mean ${suggestion}?`
  return usageError(first, { hint: own ?? general, cause: error })
}
