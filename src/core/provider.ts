import type { z } from 'zod'
import type { BaseImage, SystemKind } from './image.js'
import type { DeploymentUuid, MachineName } from './names.js'
import type { OwnedPlace } from './owned-places.js'
import type { Run } from './run.js'
import type { SshTarget } from './ssh.js'

/** Errors for third-party providers, shown as failures and not as bugs. */
export { failure, OpsError, unreachable, usageError } from './errors.js'
export type { BaseImage, SystemKind } from './image.js'
export type { DeploymentUuid, MachineName } from './names.js'
export type { OwnedPlace } from './owned-places.js'
export type { Run } from './run.js'
export type { SshTarget } from './ssh.js'

/**
 * The version of this interface, which a plugin's package.json names as `hydraOps.providerInterface`. A change that an
 * existing provider does not survive raises the number; a new optional member does not.
 */
export const providerInterface = 1

/** The current state of a resource. */
export type Observation =
  /** No resource has this name. */
  | { readonly kind: 'absent' }
  /** A resource has this name but not our mark, so it is never touched. */
  | { readonly kind: 'foreign'; readonly what: string }
  | { readonly kind: 'stopped'; readonly detail?: string }
  | { readonly kind: 'running'; readonly detail?: string }
  /** The state cannot be determined (the hypervisor does not answer …). */
  | { readonly kind: 'unknown'; readonly reason: string }

/** The identity of a machine at its first boot. */
export interface MachineIdentity {
  readonly hostName: string
  /** A 0600 file on the operator host. */
  readonly hostKeyFile: string
  readonly hostKeyPublic: string
  /** The public key that may log in as root. */
  readonly authorizedKey: string
  /** The key for the login, a 0600 file on the operator host. */
  readonly identityFile: string
}

/** One machine, as its provider sees the machine. */
export interface Resource<Config, Allocation, Handle> {
  readonly deployment: { readonly uuid: DeploymentUuid; readonly name: string | undefined }
  readonly machine: MachineName
  /** The deterministic name `hydra-ops-<uuid>-<machine>`. */
  readonly name: string
  /** The 1-based position in the LAN. */
  readonly index: number
  /** The options; the last applied options for an obsolete machine. */
  readonly config: Config
  readonly allocation: Allocation
  readonly handle: Handle | undefined
  /** The identity; absent for providers that make nothing. */
  readonly identity: MachineIdentity | undefined
  /** The operating system of the machine; absent in records of older versions. */
  readonly os?: SystemKind | undefined
  /** The resolved base image; absent when the provider or the action (destroy, stop) needs none. */
  readonly image: BaseImage | undefined
  /** The absolute paths of the folders for this machine's disks and console logs, which may not exist yet. */
  readonly disks: string
  readonly console: string
  /**
   * `deployment.targetHost`, `.targetPort`, `.targetUser`, `.targetHostKey`, `.sshOptions`,
   * `.privilegeEscalationCommand`.
   */
  readonly target: TargetOptions
  /** The recorded host key of this machine, if any. */
  readonly hostKey: string | undefined
}

export interface TargetOptions {
  readonly host: string | undefined
  /** Several addresses of the host, tried in order; `host` is the first of them. */
  readonly hosts?: readonly string[] | undefined
  readonly port: number | undefined
  readonly user: string | undefined
  readonly hostKey: string | undefined
  readonly sshOptions: readonly string[]
  readonly privilegeEscalation: readonly string[]
}

/** One difference between the wanted and the present resource. */
export interface ResourceChange {
  readonly action: 'create' | 'change' | 'recreate'
  /** The text for the plan: `memory 1024 → 2048 MiB`. */
  readonly detail: string
  /**
   * The step that brings the change to the machine: none, a restart, or a new machine. `new-disk` means a lost disk,
   * which only `--allow-recreate` replaces by an empty disk.
   */
  readonly needs: 'nothing' | 'restart' | 'recreate' | 'new-disk'
  /** A way to save the disks, if any: `put it back if there is a copy`. */
  readonly hint?: string
}

export interface AllocationRequest<Config, Allocation> {
  readonly deployment: DeploymentUuid
  readonly machine: MachineName
  readonly index: number
  readonly config: Config
  /** The known allocation. Parts that still fit are kept, so that allocations are stable. */
  readonly known: Allocation | undefined
  /** Loopback TCP ports that other machines of any deployment already have. */
  readonly takenPorts: ReadonlySet<number>
  /** This provider's allocations for the other machines of this deployment. */
  readonly siblings: ReadonlyMap<MachineName, Allocation>
}

export interface ReconcileOptions<Handle> {
  /** Whether a running machine may be restarted for changes that need a restart. */
  readonly allowRestart: boolean
  /** Whether the machine may be recreated without its disks, or a lost disk replaced by an empty disk. */
  readonly allowRecreate: boolean
  /** Persists the handle; await the call once a part that costs disk or memory exists. */
  checkpoint(handle: Handle): Promise<void>
}

/** An observation about this operator host, with its remedy. */
export interface Finding {
  /** A stable id such as `libvirt.daemon`, which failing steps refer to. */
  readonly id: string
  readonly level: 'ok' | 'note' | 'problem'
  readonly what: string
  /** The exact command that solves the problem. */
  readonly mend?: string | undefined
}

export interface OrphanResource {
  readonly name: string
  readonly deployment: string
  readonly machine: string
}

/** One snapshot of a machine, as its hypervisor knows it. */
export interface Snapshot {
  readonly name: string
  /** The time of the snapshot (ISO 8601). */
  readonly at: string
  /**
   * Whether the snapshot has the machine's memory. A restore then continues from that memory; otherwise the machine is
   * off.
   */
  readonly memory: boolean
  readonly description: string | undefined
}

/**
 * The power to keep and restore states of a machine. The hypervisor alone knows which snapshots there are; snapshots
 * that the user made without hydra-ops count too. Names of new snapshots are `SnapshotName`s (`core/names.ts`).
 */
export interface Snapshots<Config, Allocation, Handle> {
  /** Lists the snapshots, oldest first; none for a machine that is absent. */
  list(resource: Resource<Config, Allocation, Handle>, run: Run): Promise<Snapshot[]>
  /**
   * Makes a snapshot of the disks, and of the memory of a machine that runs, which goes on running. An existing name is
   * refused; the remains of a creation that a crash ended do not count.
   */
  create(
    resource: Resource<Config, Allocation, Handle>,
    wanted: { readonly name: string; readonly description: string | undefined },
    run: Run,
  ): Promise<void>
  /**
   * Plans a restore and only reads: names what the restore loses besides the changes since the snapshot, one clause
   * each. Throws when the snapshot cannot be restored as a whole.
   */
  losses(resource: Resource<Config, Allocation, Handle>, name: string, run: Run): Promise<string[]>
  /**
   * Restores disks, memory and definition as they were; the files of disks that are newer stay. The machine keeps its
   * present allocation. Afterwards the machine is off, runs, or has memory with which `start` continues. Returns a new
   * allocation, as `start` does, when a foreign process holds one of its ports.
   */
  restore(
    resource: Resource<Config, Allocation, Handle>,
    name: string,
    run: Run,
    takenPorts?: () => Promise<ReadonlySet<number>>,
  ): Promise<Allocation | undefined>
  /** Deletes a snapshot and leaves the machine as it is; succeeds when the snapshot is already gone. */
  delete(resource: Resource<Config, Allocation, Handle>, name: string, run: Run): Promise<void>
}

/** Names that the disks of a made machine have inside it. The definitions of a NixOS machine are stronger. */
export interface MachineDisk {
  /** Device that the boot loader is on: `/dev/vda`. */
  readonly boot: string
  /** Device of the root file system, and its type. */
  readonly root: string
  readonly rootType: string
  /** Modules of the kernel without which the initrd does not find the disk. */
  readonly drivers?: readonly string[]
}

/**
 * A backend. Every method converges: a second call after a crash must be safe. No method touches a resource without the
 * deployment's mark.
 */
export interface Provider<Config, Allocation, Handle> {
  readonly name: string
  /** The values of `deployment.targetEnv` that select this provider. */
  readonly targetEnvs: readonly string[]
  /** The key of the provider's options `deployment.<optionKey>.*`; undefined for a provider without options. */
  readonly optionKey: string | undefined
  /** The absolute path of the NixOS module with the same options. */
  readonly optionsNix: string
  readonly configSchema: z.ZodType<Config>
  readonly allocationSchema: z.ZodType<Allocation>
  readonly handleSchema: z.ZodType<Handle>
  /**
   * The full name of the option that chooses loopback ports, such as `deployment.<optionKey>.forwardPorts`. Hints of
   * the engine name that option; the field is absent where no option chooses a port.
   */
  readonly portOption?: string
  /**
   * The beginnings of ids of `doctor`'s findings, by error code, the likeliest first. These findings explain an error
   * of this provider. Code `PROVIDER` means that the provider cannot determine a machine's state.
   */
  readonly explanations?: Readonly<Record<string, readonly string[]>>
  /** Whether the provider makes machines (and so host keys, disks) or uses existing ones. */
  readonly makesMachines: boolean

  /**
   * Returns the base image that the provider needs: a name in the image store, a path or a URL. `os` is the operating
   * system of the machine, which decides the default image.
   */
  imageReference(config: Config, os?: SystemKind): string | undefined
  /** Returns the id of the image that a machine was made from. */
  imageId(handle: Handle): string | undefined
  /** Chooses MACs, ports and addresses before anything exists. The method must not touch the hypervisor's machines. */
  allocate(request: AllocationRequest<Config, Allocation>): Promise<Allocation>
  /** Returns the places that the provider writes inside the machine at each boot; no definition may write them too. */
  ownedPlaces?(config: Config): readonly OwnedPlace[]
  /** Returns the loopback TCP ports of the allocation. */
  ports(allocation: Allocation): number[]
  /** Returns plain data for the evaluation, such as `nodes.<n>.config.networking.privateIPv4`. */
  physical(allocation: Allocation): { privateIPv4?: string; publicIPv4?: string; disk?: MachineDisk }
  /** Returns the URLs that the provider publishes on the operator host, for `info`. */
  publishedUrls(config: Config, allocation: Allocation): string[]
  /** Returns the address on the operator host where the provider publishes a TCP port of the machine. */
  publishedPort?(allocation: Allocation, port: number): { host: string; port: number } | undefined

  inspect(resource: Resource<Config, Allocation, Handle>, run: Run): Promise<Observation>
  /**
   * Plans the changes and only reads. `[]` means that the resource is as wanted. An impossible definition (a disk that
   * shrinks) throws a usage error.
   */
  plan(resource: Resource<Config, Allocation, Handle>, run: Run): Promise<ResourceChange[]>
  /** Makes the resource as wanted, without starting the machine. Returns the new handle. */
  reconcile(
    resource: Resource<Config, Allocation, Handle>,
    options: ReconcileOptions<Handle>,
    run: Run,
  ): Promise<Handle>
  /**
   * Starts the machine. Returns a new allocation when a foreign process holds one of its ports. A new port is none of
   * `takenPorts`, the ports of other machines; the provider calls `takenPorts` only then.
   */
  start(
    resource: Resource<Config, Allocation, Handle>,
    run: Run,
    takenPorts?: () => Promise<ReadonlySet<number>>,
  ): Promise<Allocation | undefined>
  /** Requests a shutdown, waits until the deadline, then cuts the power. */
  stop(resource: Resource<Config, Allocation, Handle>, options: { graceMs: number }, run: Run): Promise<void>
  /** Destroys the resource with its disks, NVRAM and seed; succeeds when the resource is already gone. */
  destroy(resource: Resource<Config, Allocation, Handle>, run: Run): Promise<void>
  target(resource: Resource<Config, Allocation, Handle>, run: Run): Promise<SshTarget>
  /** Returns a short id for the column "Resource Id" of `info`. */
  resourceId(resource: Resource<Config, Allocation, Handle>): string

  /** Lists resources with our mark from every deployment; `check` compares the list with the state. */
  listOwned?(run: Run): Promise<OrphanResource[]>
  readonly console?: {
    /** Returns the argv of an interactive console, to be run with the user's terminal. */
    command(resource: Resource<Config, Allocation, Handle>): Promise<string[]>
    /** Returns the path of the serial log, which has the oldest boot first; undefined when there is none. */
    logFile(resource: Resource<Config, Allocation, Handle>): string | undefined
  }
  readonly snapshots?: Snapshots<Config, Allocation, Handle>
  doctor?(run: Run): Promise<Finding[]>
}
