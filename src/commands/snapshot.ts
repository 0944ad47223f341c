import type { Command } from 'commander'
import type { Ops } from '../core/context.js'
import type { MachineResult } from '../core/events.js'
import { type DrainFlags, drainFlags, drainOf } from './drain-flags.js'
import {
  commonFlags,
  example,
  maxConcurrentOf,
  saysYes,
  selectionOf,
  type YesFlags,
  yesFlag,
} from './flags.js'
import { noSuchAction } from './no-such-action.js'
import { type MachinesFlags, type MachinesRequest, machinesFlags, runOnMachines } from './run-on-machines.js'
import type { Cli } from './verb.js'

type Flags = MachinesFlags & YesFlags & DrainFlags & { readonly description?: string | undefined }

export function registerSnapshot(command: Command, cli: Cli): void {
  command.argument('[action]', 'the action (default: list the snapshots)')
  commonFlags(command, { json: true, plain: true })
  example(
    command,
    'hydra-ops snapshot create before-update -d lab',
    'hydra-ops snapshot list -d lab',
    'hydra-ops snapshot restore before-update web -d lab',
    'hydra-ops snapshot delete before-update -d lab',
  )
  command.action((action: string | undefined, flags: MachinesFlags) => {
    if (action !== undefined) throw noSuchAction(action, command)
    return list(cli, [], flags)
  })

  const create = part(
    command,
    'create <name>',
    'save the disks of machines, and the memory of running machines',
  )
  create.option('--description <text>', 'purpose of the snapshot')
  example(create, "hydra-ops snapshot create before-update web --description 'all is well' -d lab")
  create.action((name: string, machines: string[], _: Flags, self: Command) =>
    onNamed(cli, machines, self.optsWithGlobals(), 'to save', async (ops, request, { description }) => {
      const { createSnapshots } = await import('../operations/snapshots.js')
      return createSnapshots(ops, { ...request, name, description })
    }),
  )

  const listing = part(command, 'list', 'list the snapshots of machines')
  example(listing, 'hydra-ops snapshot list -d lab', 'hydra-ops snapshot list web --json -d lab')
  listing.action((machines: string[], _: Flags, self: Command) => list(cli, machines, self.optsWithGlobals()))

  const restore = part(
    command,
    'restore <name>',
    'restore machines from a snapshot; shows the losses and asks first',
  )
  drainFlags(restore)
  yesFlag(restore)
  example(
    restore,
    'hydra-ops snapshot restore before-update -d lab',
    'hydra-ops snapshot restore before-update web --yes',
  )
  restore.action((name: string, machines: string[], _: Flags, self: Command) =>
    onNamed(cli, machines, self.optsWithGlobals(), 'to restore', async (ops, request, flags) => {
      const { restoreSnapshots } = await import('../operations/restore-snapshot.js')
      return restoreSnapshots(ops, { ...request, name, yes: saysYes(flags), drain: await drainOf(flags) })
    }),
  )

  const remove = part(
    command,
    'delete <name>',
    'delete a snapshot and leave the machines as they are; asks first',
  )
  yesFlag(remove)
  example(remove, 'hydra-ops snapshot delete before-update -d lab')
  remove.action((name: string, machines: string[], _: Flags, self: Command) =>
    onNamed(cli, machines, self.optsWithGlobals(), 'to delete', async (ops, request, flags) => {
      const { deleteSnapshots } = await import('../operations/snapshots.js')
      return deleteSnapshots(ops, { ...request, name, yes: saysYes(flags) })
    }),
  )
}

/** Creates an action that takes machine names as words, in addition to the usual flags for machines. */
function part(command: Command, usage: string, description: string): Command {
  const made = command.command(usage).description(description)
  made.argument('[machine...]', 'only these machines, as with --include')
  machinesFlags(made)
  return made
}

function withNamed<F extends Flags>(machines: readonly string[], flags: F): F {
  return machines.length === 0 ? flags : { ...flags, include: [...machines, ...(flags.include ?? [])] }
}

function onNamed(
  cli: Cli,
  machines: readonly string[],
  given: Flags,
  purpose: string,
  work: (ops: Ops, request: MachinesRequest, flags: Flags) => Promise<MachineResult[]>,
): Promise<void> {
  const flags = withNamed(machines, given)
  return runOnMachines(cli, flags, purpose, (ops, request) => work(ops, request, flags))
}

function list(cli: Cli, machines: readonly string[], given: Flags): Promise<void> {
  const flags = withNamed(machines, given)
  return cli.run(flags, async (ops, ui) => {
    const { listSnapshots } = await import('../operations/snapshots.js')
    const { snapshots, problems } = await listSnapshots(ops, {
      deployment: flags.deployment,
      selection: selectionOf(flags),
      maxConcurrent: maxConcurrentOf(flags, await ops.store.preferences()),
    })
    await ui.settle()
    if (ui.json) ui.printJson(snapshots)
    else if (snapshots.length > 0)
      ui.print((await import('../ui/list-view.js')).snapshotsView(snapshots, ui.plain))
    else if (!ui.plain && problems.length === 0) ui.announce('there are no snapshots')
    for (const text of problems) ui.events.emit({ kind: 'notice', text })
    return problems.length === 0 ? 0 : 3
  })
}
