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
 * The version of this interface, which a plugin's package.json states as `hydraOps.providerInterface`. A change that
 * breaks existing providers raises the number; a new optional member does not.
 */
export const providerInterface = 1

/** The current state of a resource. */
export type Observation =
  /** No resource has this name. */
  | { readonly kind: 'absent' }
  /** A resource has this name but lacks the deployment's mark, so it is never touched. */
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

/** One machine, as its provider sees it. */
export interface Resource<Config, Allocation, Handle> {
  readonly deployment: { readonly uuid: DeploymentUuid; readonly name: string | undefined }
  readonly machine: MachineName
  /** The deterministic name `hydra-ops-<uuid>-<machine>`. */
  readonly name: string
  /** The 1-based position in the LAN. */
  readonly index: number
  /** The options; for an obsolete machine, the options that were last applied. */
  readonly config: Config
  readonly allocation: Allocation
  readonly handle: Handle | undefined
  /** The identity; undefined for providers that do not create machines. */
  readonly identity: MachineIdentity | undefined
  /** The operating system of the machine; absent in records of older versions. */
  readonly os?: SystemKind | undefined
  /** The resolved base image; undefined when the provider or the action (destroy, stop) needs no image. */
  readonly image: BaseImage | undefined
  /** The absolute paths of the folders for this machine's disks and console logs, which may not exist yet. */
  readonly disks: string
  readonly console: string
  /**
   * The options `deployment.targetHost`, `.targetPort`, `.targetUser`, `.targetHostKey`, `.sshOptions`,
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

/** One difference between the wanted and the current resource. */
export interface ResourceChange {
  readonly action: 'create' | 'change' | 'recreate'
  /** The text in the plan, such as `memory 1024 → 2048 MiB`. */
  readonly detail: string
  /**
   * The step that applies the change: none, a restart, or a recreation. `new-disk` means a lost disk, which only
   * `--allow-recreate` replaces with an empty disk.
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
  /** The existing allocation, if any. Parts that still fit are kept, so that allocations remain stable. */
  readonly known: Allocation | undefined
  /** Loopback TCP ports that other machines of any deployment already use. */
  readonly takenPorts: ReadonlySet<number>
  /** This provider's allocations for the other machines of this deployment. */
  readonly siblings: ReadonlyMap<MachineName, Allocation>
}

export interface ReconcileOptions<Handle> {
  /** Whether a running machine may be restarted for changes that need a restart. */
  readonly allowRestart: boolean
  /** Whether the machine may be recreated without its disks, or a lost disk replaced with an empty disk. */
  readonly allowRecreate: boolean
  /** Persists the handle. Await the call as soon as a part that takes up disk space or memory exists. */
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

/** One snapshot of a machine, as its hypervisor reports it. */
export interface Snapshot {
  readonly name: string
  /** The time of the snapshot (ISO 8601). */
  readonly at: string
  /**
   * Whether the snapshot contains the machine's memory. A restore then continues from the memory; a restore without
   * memory leaves the machine off.
   */
  readonly memory: boolean
  readonly description: string | undefined
}

/**
 * The ability to keep and restore states of a machine. Only the hypervisor has the list of snapshots, which includes
 * snapshots that the user made without hydra-ops. Names of new snapshots are `SnapshotName`s (`core/names.ts`).
 */
export interface Snapshots<Config, Allocation, Handle> {
  /** Lists the snapshots, oldest first; returns an empty list for a missing machine. */
  list(resource: Resource<Config, Allocation, Handle>, run: Run): Promise<Snapshot[]>
  /**
   * Creates a snapshot of the disks, and of the memory of a running machine, which keeps running. An existing name
   * is refused, unless it belongs to the remains of an interrupted creation.
   */
  create(
    resource: Resource<Config, Allocation, Handle>,
    wanted: { readonly name: string; readonly description: string | undefined },
    run: Run,
  ): Promise<void>
  /**
   * Plans a restore without changing anything. Names everything that the restore loses besides the changes since the
   * snapshot, one clause each. Throws when the snapshot cannot be restored as a whole.
   */
  losses(resource: Resource<Config, Allocation, Handle>, name: string, run: Run): Promise<string[]>
  /**
   * Restores disks, memory and definition as they were at the snapshot. Files of newer disks stay. The machine keeps
   * its current allocation. The machine is then off, running, or has saved memory from which `start` continues.
   * Returns a new allocation, as `start` does, when a foreign process holds one of its ports.
   */
  restore(
    resource: Resource<Config, Allocation, Handle>,
    name: string,
    run: Run,
    takenPorts?: () => Promise<ReadonlySet<number>>,
  ): Promise<Allocation | undefined>
  /** Deletes a snapshot, and leaves the machine as it is. Succeeds when the snapshot is already gone. */
  delete(resource: Resource<Config, Allocation, Handle>, name: string, run: Run): Promise<void>
}

/** Names that the disks of a created machine have inside it. The definitions of a NixOS machine take precedence. */
export interface MachineDisk {
  /** Device that contains the boot loader: `/dev/vda`. */
  readonly boot: string
  /** Device of the root file system; `rootType` is the type of the file system. */
  readonly root: string
  readonly rootType: string
  /** Kernel modules without which the initrd cannot find the disk. */
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
  /** The absolute path of the NixOS module that declares the same options. */
  readonly optionsNix: string
  readonly configSchema: z.ZodType<Config>
  readonly allocationSchema: z.ZodType<Allocation>
  readonly handleSchema: z.ZodType<Handle>
  /**
   * The full name of the option that chooses loopback ports, such as `deployment.<optionKey>.forwardPorts`. Hints of
   * the engine refer to the option; the field is absent if no option chooses a port.
   */
  readonly portOption?: string
  /**
   * Prefixes of the ids of `doctor` findings that explain errors of this provider: by error code, likeliest first.
   * The code `PROVIDER` means that the provider cannot determine a machine's state.
   */
  readonly explanations?: Readonly<Record<string, readonly string[]>>
  /** Whether the provider creates machines (with host keys and disks) or uses existing machines. */
  readonly makesMachines: boolean

  /**
   * Returns the base image that the provider needs: a name in the image store, a path or a URL. `os` is the
   * machine's operating system, which determines the default image.
   */
  imageReference(config: Config, os?: SystemKind): string | undefined
  /** Returns the id of the image from which a machine was created. */
  imageId(handle: Handle): string | undefined
  /**
   * Chooses MAC addresses, ports and IP addresses before anything exists. The method must not touch the hypervisor's
   * machines.
   */
  allocate(request: AllocationRequest<Config, Allocation>): Promise<Allocation>
  /**
   * Returns the paths that the provider writes inside the machine at each boot. No definition may write these paths.
   */
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
   * Plans the changes without making them. `[]` means that the resource is as wanted. Throws a usage error for an
   * impossible definition (a disk that shrinks).
   */
  plan(resource: Resource<Config, Allocation, Handle>, run: Run): Promise<ResourceChange[]>
  /** Brings the resource to its wanted form, without starting the machine. Returns the new handle. */
  reconcile(
    resource: Resource<Config, Allocation, Handle>,
    options: ReconcileOptions<Handle>,
    run: Run,
  ): Promise<Handle>
  /**
   * Starts the machine. If a foreign process holds one of its ports, the provider chooses a new port and returns the
   * new allocation. `takenPorts` returns the ports of other machines, and is called only in that case.
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

  /** Lists resources with hydra-ops's mark from every deployment; `check` compares the list with the state. */
  listOwned?(run: Run): Promise<OrphanResource[]>
  readonly console?: {
    /** Returns the argv of an interactive console, which runs on the user's terminal. */
    command(resource: Resource<Config, Allocation, Handle>): Promise<string[]>
    /** Returns the path of the serial log, oldest boot first; undefined when there is no log. */
    logFile(resource: Resource<Config, Allocation, Handle>): string | undefined
  }
  readonly snapshots?: Snapshots<Config, Allocation, Handle>
  doctor?(run: Run): Promise<Finding[]>
}
