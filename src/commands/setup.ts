import { Argument, type Command } from 'commander'
import { usageError } from '../core/errors.js'
import {
  commonFlags,
  example,
  maxConcurrentOf,
  type SelectionFlags,
  selectionFlags,
  selectionOf,
} from './flags.js'
import { runOnMachines } from './run-on-machines.js'
import type { Cli, CommonFlags } from './verb.js'

interface Flags extends CommonFlags, SelectionFlags {
  readonly redo?: boolean | undefined
  readonly prune?: boolean | undefined
}

export function registerSetup(command: Command, cli: Cli): void {
  command
    .addArgument(
      new Argument('[action]', 'list the tasks of the machines, run a task, or verify all tasks')
        .choices(['status', 'run', 'verify'])
        .default('status'),
    )
    .argument('[task]', 'the task to run')
    .option('--redo', 'run the task even where the task is done')
    .option('--prune', 'let the task remove its earlier results that the expression no longer names')
  selectionFlags(command)
  commonFlags(command, { json: true, plain: true })
  example(
    command,
    'hydra-ops setup -d lab',
    'hydra-ops setup run cache-key --redo -d lab --on web',
    'hydra-ops setup verify',
  )
  command.action((action: 'status' | 'run' | 'verify', task: string | undefined, flags: Flags) => {
    if (action === 'run') return run(cli, task, flags)
    return action === 'verify' ? verify(cli, task, flags) : status(cli, task, flags)
  })
}

function verify(cli: Cli, task: string | undefined, flags: Flags): Promise<void> {
  return runOnMachines(cli, flags, 'to verify', async (ops, { deployment, selection }) => {
    if (task !== undefined) throw usageError(`setup verify takes no task, got '${task}'`)
    refuseRunFlags(flags)
    const { verifySetup } = await import('../operations/setup.js')
    return verifySetup(ops, { deployment, selection })
  })
}

function status(cli: Cli, task: string | undefined, flags: Flags): Promise<void> {
  return cli.run(flags, async (ops, ui) => {
    if (task !== undefined) throw usageError(`setup status takes no task, got '${task}'`)
    refuseRunFlags(flags)
    const { setupStatus } = await import('../operations/setup.js')
    const rows = await setupStatus(ops, {
      deployment: flags.deployment,
      selection: selectionOf(flags),
      maxConcurrent: maxConcurrentOf({}, await ops.store.preferences()),
    })
    await ui.settle()
    if (ui.json) ui.printJson(rows)
    else ui.print((await import('../ui/setup-view.js')).setupView(rows, ui))
    return 0
  })
}

function refuseRunFlags({ redo, prune }: Flags): void {
  if (redo === true) throw usageError('--redo works only with hydra-ops setup run TASK')
  if (prune === true) throw usageError('--prune works only with hydra-ops setup run TASK')
}

function run(cli: Cli, task: string | undefined, flags: Flags): Promise<void> {
  return runOnMachines(cli, flags, 'to set up', async (ops, { deployment, selection, maxConcurrent }) => {
    if (task === undefined)
      throw usageError('the name of the task is missing', {
        hint: 'hydra-ops setup lists the tasks of the machines',
      })
    const { runSetup } = await import('../operations/setup.js')
    return runSetup(ops, {
      deployment,
      selection,
      task,
      maxConcurrent,
      redo: flags.redo ?? false,
      prune: flags.prune ?? false,
    })
  })
}
