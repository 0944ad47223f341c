import type { Json } from './json.js'
import type { DeploymentName, DeploymentUuid, MachineName, StorePath, TaskId } from './names.js'

/** The record of one machine: decisions and observations of hydra-ops, none of them secret. */
export interface MachineRecord {
  readonly provider: string
  readonly os: 'debian' | 'nixos'
  /** The machine's position in the deployment's LAN: 1-based, never reused while the machine is remembered. */
  readonly index: number
  /** The provider's decisions before creation (MAC, ports …); its `allocationSchema` parses them. */
  allocation: Json
  /** The pinned host key, `ssh-ed25519 AAAA…`; absent until the first contact with an existing host. */
  hostKey?: string | undefined
  /** The provider's handle of the resource, parsed by `handleSchema`; absent before anything exists. */
  handle?: Json | undefined
  /** The provider options that were applied last; `destroy` of an obsolete machine uses them. */
  config?: Json | undefined
  /** The change that is under way: written before something is made or removed, and cleared afterwards. */
  intent?: { action: 'create' | 'change' | 'destroy'; resource: string; since: string } | undefined
  /** `deployment.target*` as last evaluated, so that `ssh`, `check` and the like need no evaluation. */
  target?: RecordedTarget | undefined
  /** Whether the last deploy found the machine absent from the network expression. */
  obsolete: boolean
  /** Whether the user stopped the machine: `deploy` starts it again, and `check` does not complain. */
  stoppedOnPurpose?: boolean | undefined
  /** The last closure that was activated successfully. */
  deployed?: DeployedClosure | undefined
  /** A copy that began and is not known to have ended, with the boot id at its beginning. */
  unfinishedCopy?: { path: StorePath; bootId: string } | undefined
  /** An activation that was started and whose result was not read yet. */
  activation?: { unit: string; path: StorePath; log: string; bootId: string } | undefined
  tasks: Record<TaskId, TaskRecord>
  /** Absolute paths of the delivered keys by name, so that dropped keys can be removed. */
  keys: Record<string, string>
  facts: MachineFacts
  /**
   * The facts that were known about the machine at each snapshot, by name. Only the hypervisor has the list
   * of snapshots.
   */
  snapshots?: Record<string, SnapshotRecord> | undefined
  /** The machine's result in the last deploy; `--retry-failed` selects by this field. */
  lastResult?: 'changed' | 'unchanged' | 'degraded' | 'failed' | undefined
}

/** The facts that were known about a machine when a snapshot was made; a restore makes them true again. */
export interface SnapshotRecord
  extends Pick<
    MachineRecord,
    'config' | 'deployed' | 'unfinishedCopy' | 'activation' | 'tasks' | 'keys' | 'facts'
  > {
  /** The time before the snapshot was begun. */
  readonly since: string
  /** The hypervisor's time of the snapshot; absent while the creation is not known to have ended. */
  readonly at?: string | undefined
}

export interface RecordedTarget {
  host?: string | undefined
  /** Several addresses, tried in order; absent for a host with one. */
  hosts?: string[] | undefined
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
  /** The hash of each file by path and of each unit by name; the plan compares them. */
  files: Record<string, string>
  units: Record<string, string>
  /** The Hydra build that produced the closure; absent for a closure that the operator built. */
  hydra?: HydraOrigin | undefined
}

/** The build that a closure comes from. */
export interface HydraOrigin {
  url: string
  project: string
  jobset: string
  evaluation: number
  build: number
  job: string
  /** The revision of each input of the evaluation, by the name of the input. */
  inputs: Record<string, string>
  /** The time of the evaluation, if Hydra reports one. */
  evaluatedAt?: string | undefined
}

export interface TaskRecord {
  /** The keyed hash of the inputs that the task ran with. */
  inputs: string
  /** Keyed hashes of the secrets that the task ran with, by name. */
  secrets?: Record<string, string> | undefined
  outputs: Record<string, string>
  at: string
}

export interface MachineFacts {
  osRelease?: string | undefined
  bootId?: string | undefined
  /** The version that the set-up task `nix` found. */
  nixVersion?: string | undefined
  /** The free bytes on the file system of /nix. */
  freeBytes?: number | undefined
  seenAt?: string | undefined
}

/** The record of a deployment apart from its machines. */
export interface DeploymentHead {
  readonly uuid: DeploymentUuid
  name?: DeploymentName | undefined
  description?: string | undefined
  /**
   * Paths that are absolute, or relative to the state folder when that folder lies inside a checkout. The store
   * resolves the paths.
   */
  expressions: string[]
  /** The `-I` entries. */
  searchPath: string[]
  /** Function arguments: Nix text by name. */
  args: Record<string, string>
  /** Whether the expressions are evaluated from the fetched source of their git repository, as a Hydra does. */
  fromGit?: boolean | undefined
  readonly createdAt: string
}

export interface DeploymentRecord extends DeploymentHead {
  machines: Machines
}

export type Machines = Record<MachineName, MachineRecord>

/** Begins a record of machines that inherits no names, so that a machine may be called `constructor`. */
export function newMachines(known: Machines = {}): Machines {
  const machines: Machines = Object.create(null)
  return Object.assign(machines, known)
}

/** The absolute paths of one deployment's files. */
export interface DeploymentPaths {
  readonly root: string
  readonly disks: string
  readonly knownHosts: string
  readonly sshConfig: string
  /** The folder of configurations for the system's ssh that name some machines. */
  readonly ssh: string
  readonly logs: string
  readonly console: string
  readonly gcroots: string
}

/** The folder on the operator host that holds logs, disks and images, whichever store has the records. */
export interface StateFolder {
  /** The absolute path of the folder. */
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
  /** The kind of the entry: `deploy.begin`, `machine.create`, `activate.start`, `task.done` … */
  readonly event: string
  readonly result?: string | undefined
  readonly data?: Json | undefined
}
