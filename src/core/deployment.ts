import type { Json } from './json.js'
import type { DeploymentName, DeploymentUuid, MachineName, StorePath, TaskId } from './names.js'

/** What is known of one machine. Everything here was decided or seen by hydra-ops; nothing is secret. */
export interface MachineRecord {
  readonly provider: string
  readonly os: 'debian' | 'nixos'
  /** Position in the deployment's LAN: 1-based, never reused while the machine is remembered. */
  readonly index: number
  /** What the provider decided before creation (MAC, ports …); parsed by its `allocationSchema`. */
  allocation: Json
  /** `ssh-ed25519 AAAA…`: the pinned host key. Absent until the first contact with a host that exists already. */
  hostKey?: string | undefined
  /** What the provider made; parsed by its `handleSchema`. Absent = nothing was made yet. */
  handle?: Json | undefined
  /** The provider options last applied; what `destroy` of an obsolete machine goes by. */
  config?: Json | undefined
  /** Written before something is made or removed; cleared when it is done. */
  intent?: { action: 'create' | 'change' | 'destroy'; resource: string; since: string } | undefined
  /** `deployment.target*` as last evaluated, so that `ssh`, `check` and the like need no evaluation. */
  target?: RecordedTarget | undefined
  /** No longer in the network expression (as of the last deploy). */
  obsolete: boolean
  /** Stopped by the user: `deploy` starts it again, `check` does not complain. */
  stoppedOnPurpose?: boolean | undefined
  /** Last closure that was activated with success. */
  deployed?: DeployedClosure | undefined
  /** A copy that began and was not seen to end, and the boot id it began under. */
  unfinishedCopy?: { path: StorePath; bootId: string } | undefined
  /** An activation that was started and whose result was not read yet. */
  activation?: { unit: string; path: StorePath; log: string; bootId: string } | undefined
  tasks: Record<TaskId, TaskRecord>
  /** Absolute paths of the delivered keys, so that dropped ones can be removed. Key name → path. */
  keys: Record<string, string>
  facts: MachineFacts
  /** How the last deploy ended for this machine; `--retry-failed` selects by it. */
  lastResult?: 'changed' | 'unchanged' | 'degraded' | 'failed' | undefined
}

export interface RecordedTarget {
  host?: string | undefined
  port?: number | undefined
  user?: string | undefined
  hostKey?: string | undefined
  sshOptions: string[]
  privilegeEscalation: string[]
}

export interface DeployedClosure {
  path: StorePath
  at: string
  run: string
  /** File path → hash, unit name → hash: what the plan compares with. */
  files: Record<string, string>
  units: Record<string, string>
}

export interface TaskRecord {
  /** Keyed hash of the inputs it ran with. */
  inputs: string
  /** Keyed hashes of the secrets it ran with, by name. */
  secrets?: Record<string, string> | undefined
  outputs: Record<string, string>
  at: string
}

export interface MachineFacts {
  osRelease?: string | undefined
  bootId?: string | undefined
  /** As the set-up task `nix` found it. */
  nixVersion?: string | undefined
  /** Bytes free on the file system of /nix. */
  freeBytes?: number | undefined
  seenAt?: string | undefined
}

/** What is known of a deployment besides its machines. */
export interface DeploymentHead {
  readonly uuid: DeploymentUuid
  name?: DeploymentName | undefined
  description?: string | undefined
  /** Absolute, or relative to the state folder where that lies inside a checkout; the store resolves them. */
  expressions: string[]
  /** `-I` entries. */
  searchPath: string[]
  /** Function arguments: Nix text per name. */
  args: Record<string, string>
  readonly createdAt: string
}

export interface DeploymentRecord extends DeploymentHead {
  machines: Machines
}

export type Machines = Record<MachineName, MachineRecord>

/** Begins a record of machines in which a machine may be called `constructor`: it inherits no names. */
export function newMachines(known: Machines = {}): Machines {
  const machines: Machines = Object.create(null)
  return Object.assign(machines, known)
}

/** The places of one deployment's files. Absolute paths. */
export interface DeploymentPaths {
  readonly root: string
  readonly disks: string
  readonly keys: string
  readonly knownHosts: string
  readonly sshConfig: string
  readonly logs: string
  readonly console: string
  readonly gcroots: string
}

/** The folder of the operator host in which keys, logs, disks and images lie, whichever store has the records. */
export interface StateFolder {
  /** Absolute path. */
  readonly root: string
  paths(uuid: DeploymentUuid): DeploymentPaths
}

export interface JournalEntry {
  readonly at: string
  readonly user: string
  readonly host: string
  readonly command: string
  readonly run: string
  readonly machine?: string | undefined
  /** `deploy.begin`, `machine.create`, `activate.start`, `task.done` … */
  readonly event: string
  readonly result?: string | undefined
  readonly data?: Json | undefined
}
