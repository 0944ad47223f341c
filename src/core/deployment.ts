import type { Json } from './json.js'
import type { DeploymentName, DeploymentUuid, MachineName, StorePath, TaskId } from './names.js'

/** The record of one machine: hydra-ops's decisions and observations, none of them secret. */
export interface MachineRecord {
  readonly provider: string
  readonly os: 'debian' | 'nixos'
  /** The machine's position in the deployment's LAN: 1-based, never reused while the machine has a record. */
  readonly index: number
  /** The provider's decisions before creation (MAC, ports …); its `allocationSchema` parses them. */
  allocation: Json
  /** The pinned host key, `ssh-ed25519 AAAA…`; absent until the first contact with an existing host. */
  hostKey?: string | undefined
  /** The provider's handle of the resource, parsed by `handleSchema`; absent before the resource exists. */
  handle?: Json | undefined
  /** The provider options that were last applied; `destroy` uses them for an obsolete machine. */
  config?: Json | undefined
  /** The change in progress: written before a resource is created, changed or removed, and cleared afterwards. */
  intent?: { action: 'create' | 'change' | 'destroy'; resource: string; since: string } | undefined
  /** `deployment.target*` as last evaluated, so that commands such as `ssh` and `check` need no evaluation. */
  target?: RecordedTarget | undefined
  /** Whether the last deploy found no definition of the machine in the network expression. */
  obsolete: boolean
  /** Whether the user stopped the machine: `deploy` starts it again, and `check` does not complain. */
  stoppedOnPurpose?: boolean | undefined
  /** The last closure that was activated successfully. */
  deployed?: DeployedClosure | undefined
  /** A copy that has begun and may not have finished, with the boot id at its beginning. */
  unfinishedCopy?: { path: StorePath; bootId: string } | undefined
  /** An activation that was started, and whose result has not been read yet. */
  activation?: { unit: string; path: StorePath; log: string; bootId: string } | undefined
  tasks: Record<TaskId, TaskRecord>
  /** Absolute paths of the delivered keys by name, so that obsolete keys can be removed. */
  keys: Record<string, string>
  facts: MachineFacts
  /** The machine's facts at each snapshot, by the snapshot's name. Only the hypervisor has the list of snapshots. */
  snapshots?: Record<string, SnapshotRecord> | undefined
  /** The machine's result in the last deploy; `--retry-failed` selects by this field. */
  lastResult?: 'changed' | 'unchanged' | 'degraded' | 'failed' | undefined
}

/** The facts that hydra-ops recorded about a machine when a snapshot was made. A restore makes them true again. */
export interface SnapshotRecord
  extends Pick<
    MachineRecord,
    'config' | 'deployed' | 'unfinishedCopy' | 'activation' | 'tasks' | 'keys' | 'facts'
  > {
  /** A time just before the snapshot was begun. */
  readonly since: string
  /** The hypervisor's time of the snapshot; absent until the creation is known to have finished. */
  readonly at?: string | undefined
}

export interface RecordedTarget {
  host?: string | undefined
  /** Several addresses, tried in order; absent for a host with a single address. */
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
  /** The hash of each file, by path; the plan compares the hashes of files and units. */
  files: Record<string, string>
  units: Record<string, string>
  /** The Hydra build that produced the closure; absent for a closure that the operator built. */
  hydra?: HydraOrigin | undefined
}

/** The Hydra build that produced a closure. */
export interface HydraOrigin {
  url: string
  project: string
  jobset: string
  evaluation: number
  build: number
  job: string
  /** The revision of each input of the evaluation, by input name. */
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
  /** The version of Nix that the set-up task `nix` found. */
  nixVersion?: string | undefined
  /** The free bytes on the file system of /nix. */
  freeBytes?: number | undefined
  seenAt?: string | undefined
}

/** The record of a deployment without its machines. */
export interface DeploymentHead {
  readonly uuid: DeploymentUuid
  name?: DeploymentName | undefined
  description?: string | undefined
  /**
   * Absolute paths, or paths relative to the state folder if it lies inside a checkout. The store resolves relative
   * paths.
   */
  expressions: string[]
  /** The entries of the Nix search path (`-I`). */
  searchPath: string[]
  /** Function arguments of the network expression: Nix text by name. */
  args: Record<string, string>
  /** Whether the expressions are evaluated from the fetched source of their git repository, as Hydra does. */
  fromGit?: boolean | undefined
  readonly createdAt: string
}

export interface DeploymentRecord extends DeploymentHead {
  machines: Machines
}

export type Machines = Record<MachineName, MachineRecord>

/** Creates a record of machines without inherited properties, so that a machine may be called `constructor`. */
export function newMachines(known: Machines = {}): Machines {
  const machines: Machines = Object.create(null)
  return Object.assign(machines, known)
}

/** Absolute paths of one deployment's files. */
export interface DeploymentPaths {
  readonly root: string
  readonly disks: string
  readonly knownHosts: string
  readonly sshConfig: string
  /** The folder of ssh configuration files, each of which covers some machines. */
  readonly ssh: string
  readonly logs: string
  readonly console: string
  readonly gcroots: string
}

/** The folder on the operator host for logs, disks and images, independent of the store of the records. */
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
