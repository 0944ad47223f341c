import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Ops } from '../core/context.js'
import type { DeploymentPaths, DeploymentRecord } from '../core/deployment.js'
import { messageOf, OpsError, unreachable } from '../core/errors.js'
import type { MachineName } from '../core/names.js'
import type { Run } from '../core/run.js'
import { settleAll } from '../core/settle.js'
import type { SshTarget } from '../core/ssh.js'
import { writeIfChanged } from '../core/write-if-changed.js'
import { machineOf, sshTargetOf } from './resource.js'

/** Separator between machine names in a file name. No machine has this character in its name. */
const between = '+'
const ends = { config: '.config', knownHosts: '.known_hosts' }

/**
 * Writes a `-F` file for the system's ssh and scp with only these machines. The file is named after the machines, so
 * that parallel sessions do not collide. The file depends only on the state, and is written only if the content
 * differs.
 */
export async function sshClientConfig(
  ops: Ops,
  record: DeploymentRecord,
  machines: readonly MachineName[],
  run: Run,
): Promise<string> {
  const targets = await settleAll(machines.map((machine) => reachableTarget(ops, record, machine, run)))
  const paths = ops.files.paths(record.uuid)
  const base = join(paths.ssh, [...machines].sort().join(between))
  const knownHosts = `${base}${ends.knownHosts}`
  const rendered = ops.ssh.renderConfig(targets, { knownHosts })
  await writeIfChanged(knownHosts, rendered.knownHosts)
  await writeIfChanged(`${base}${ends.config}`, rendered.config)
  return `${base}${ends.config}`
}

/** Removes the files of `sshClientConfig` whose names include the machine. */
export function forgetSshFiles({ ssh: folder }: DeploymentPaths, machine: MachineName): void {
  if (!existsSync(folder)) return
  for (const file of readdirSync(folder)) {
    const end = Object.values(ends).find((each) => file.endsWith(each)) ?? ''
    const machines = file.slice(0, file.length - end.length).split(between)
    if (machines.includes(machine)) rmSync(join(folder, file), { force: true })
  }
}

export interface WholeSshConfig {
  readonly file: string
  readonly text: string
  /** Machines that ssh cannot reach yet, with the reasons. */
  readonly left: readonly { readonly machine: MachineName; readonly why: string }[]
}

/** Writes the configuration of every given machine to its permanent place. */
export async function wholeSshConfig(
  ops: Ops,
  record: DeploymentRecord,
  machines: readonly MachineName[],
  run: Run,
): Promise<WholeSshConfig> {
  const paths: DeploymentPaths = ops.files.paths(record.uuid)
  const targets: SshTarget[] = []
  const left: { machine: MachineName; why: string }[] = []
  for (const machine of machines) {
    try {
      targets.push(await reachableTarget(ops, record, machine, run))
    } catch (error) {
      if (!(error instanceof OpsError) || error.code === 'INTERRUPTED') throw error
      left.push({ machine, why: messageOf(error) })
    }
  }
  const { config, knownHosts } = ops.ssh.renderConfig(targets, { knownHosts: paths.knownHosts })
  await writeIfChanged(paths.knownHosts, knownHosts)
  await writeIfChanged(paths.sshConfig, config)
  return { file: paths.sshConfig, text: config, left }
}

/**
 * Returns the SSH target of a machine that exists and has a known host key. A connection to any other machine would
 * fail.
 */
async function reachableTarget(
  ops: Ops,
  record: DeploymentRecord,
  machine: MachineName,
  run: Run,
): Promise<SshTarget> {
  const known = machineOf(record, machine)
  if (ops.providers.named(known.provider).makesMachines && known.handle === undefined) {
    throw unreachable(machine, `machine '${machine}' does not exist yet`, { hint: 'hydra-ops deploy' })
  }
  const target = await sshTargetOf(ops, record, machine, run)
  if (target.hostKey === undefined) {
    throw unreachable(machine, `the host key of machine '${machine}' is not known yet`, {
      hint: 'hydra-ops deploy shows the host key and asks, or accepts the key with --accept-host-key',
    })
  }
  return target
}
