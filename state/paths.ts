import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, isAbsolute, join, relative, resolve } from 'node:path'
import type { DeploymentPaths, StateFolder } from '../src/core/deployment.js'
import type { DeploymentUuid } from '../src/core/names.js'

export type Environment = Readonly<Record<string, string | undefined>>

/**
 * Chooses the state folder: `--state DIR`, `HYDRA_OPS_STATE`, or the XDG state folder. The XDG specification says that
 * a relative XDG_STATE_HOME is to be ignored.
 */
export function stateRoot(given: string | undefined, env: Environment): string {
  const chosen = given ?? (env.HYDRA_OPS_STATE || undefined)
  if (chosen !== undefined) return resolve(chosen)
  const xdg = env.XDG_STATE_HOME
  const base = xdg !== undefined && isAbsolute(xdg) ? xdg : join(env.HOME || homedir(), '.local', 'state')
  return join(base, 'hydra-ops')
}

/** Describes the chosen state folder without creating it. */
export function createStateFolder(given: string | undefined, env: Environment): StateFolder {
  const root = stateRoot(given, env)
  const known = new Map<DeploymentUuid, DeploymentPaths>()
  return {
    root,
    // The paths are cached, because a report asks for them once per machine.
    paths(uuid) {
      const paths = known.get(uuid) ?? deploymentPaths(root, uuid)
      known.set(uuid, paths)
      return paths
    },
  }
}

export function deploymentsFolder(root: string): string {
  return join(root, 'deployments')
}

export function deploymentPaths(root: string, uuid: DeploymentUuid): DeploymentPaths {
  const folder = join(deploymentsFolder(root), uuid)
  return {
    root: folder,
    disks: join(folder, 'disks'),
    knownHosts: join(folder, 'known_hosts'),
    sshConfig: join(folder, 'ssh_config'),
    ssh: join(folder, 'ssh'),
    logs: join(folder, 'logs'),
    console: join(folder, 'console'),
    gcroots: join(folder, 'gcroots'),
  }
}

/** The store's own files in a deployment's folder; no other code touches them. */
export interface StateFiles {
  readonly state: string
  readonly backup: string
  readonly machines: string
  readonly journal: string
  readonly lock: string
}

export function stateFiles(folder: string): StateFiles {
  return {
    state: join(folder, 'state.json'),
    backup: join(folder, 'state.json.bak'),
    machines: join(folder, 'machines'),
    journal: join(folder, 'journal.ndjson'),
    lock: join(folder, 'lock'),
  }
}

/**
 * Returns the paths of a machine's file and of its backup. A machine's name may contain dots, but is never equal to one
 * of these endings.
 */
export function machineFiles(machines: string, name: string): { state: string; backup: string } {
  return { state: join(machines, `${name}${machineEnd}`), backup: join(machines, `${name}${machineEnd}.bak`) }
}

const machineEnd = '.json'

/** Lists the machines that have a file, or only a backup, from the names in their folder. */
export function machinesOfFiles(names: readonly string[]): string[] {
  const machines = names.flatMap((name) => /^(.+)\.json(?:\.bak)?$/.exec(name)?.[1] ?? [])
  return [...new Set(machines)].sort()
}

const dotted = /^\.\.?(?:\/|$)/

/**
 * Converts a path for the state: relative (`./…`, `../…`) to the state folder when both lie in one git checkout. A
 * clone in a different place therefore works. Other paths stay unchanged.
 */
export function toStored(root: string, path: string): string {
  if (dotted.test(path)) return toStored(root, resolve(path))
  if (!isAbsolute(path)) return path
  const checkout = checkoutOf(root)
  if (checkout === undefined || checkout !== checkoutOf(path)) return path
  const short = relative(root, path)
  return short.startsWith('..') ? short : `./${short}`
}

export function fromStored(root: string, stored: string): string {
  return dotted.test(stored) ? resolve(root, stored) : stored
}

/** Converts the path of a `-I` entry: `PATH` or `NAME=PATH`. */
export function mapSearchPath(entry: string, change: (path: string) => string): string {
  const at = entry.indexOf('=')
  return at < 0 ? change(entry) : `${entry.slice(0, at + 1)}${change(entry.slice(at + 1))}`
}

/** Finds the nearest parent folder with a `.git` (a file in worktrees and submodules). */
function checkoutOf(path: string): string | undefined {
  for (let folder = path; ; folder = dirname(folder)) {
    if (existsSync(join(folder, '.git'))) return folder
    if (dirname(folder) === folder) return undefined
  }
}
