import type { z } from 'zod'
import type { BaseImage } from './image.js'
import type { DeploymentUuid, MachineName } from './names.js'
import type { OwnedPlace } from './owned-places.js'
import type { Run } from './run.js'
import type { SshTarget } from './ssh.js'

/** For providers of third parties: how they fail so that it is shown as a failure and not as a bug. */
export { failure, OpsError, unreachable, usageError } from './errors.js'

/** What is seen of a resource now. */
export type Observation =
  /** Nothing of that name. */
  | { readonly kind: 'absent' }
  /** Something of that name that does not carry our mark: never touched. */
  | { readonly kind: 'foreign'; readonly what: string }
  | { readonly kind: 'stopped'; readonly detail?: string }
  | { readonly kind: 'running'; readonly detail?: string }
  /** It cannot be known: the hypervisor does not answer … */
  | { readonly kind: 'unknown'; readonly reason: string }

/** What a machine is to wear at its first boot. */
export interface MachineIdentity {
  readonly hostName: string
  /** 0600 file on the operator host. */
  readonly hostKeyFile: string
  readonly hostKeyPublic: string
  /** Public key that may log in as root. */
  readonly authorizedKey: string
  /** 0600 file on the operator host: the key that logs in. */
  readonly identityFile: string
}

/** One machine, as its provider sees it. */
export interface Resource<Config, Allocation, Handle> {
  readonly deployment: { readonly uuid: DeploymentUuid; readonly name: string | undefined }
  readonly machine: MachineName
  /** Deterministic: `hydra-ops-<uuid>-<machine>`. */
  readonly name: string
  /** 1-based position in the LAN. */
  readonly index: number
  /** For an obsolete machine: what was last applied. */
  readonly config: Config
  readonly allocation: Allocation
  readonly handle: Handle | undefined
  /** Absent for providers that make nothing. */
  readonly identity: MachineIdentity | undefined
  /** Resolved base image; absent where the provider wants none or it is not needed (destroy, stop). */
  readonly image: BaseImage | undefined
  /** The deployment's folders for this machine's disks and console logs; absolute; they may not exist yet. */
  readonly disks: string
  readonly console: string
  /** `deployment.targetHost`, `.targetPort`, `.targetUser`, `.targetHostKey`, `.sshOptions`, `.privilegeEscalationCommand`. */
  readonly target: TargetOptions
  /** The host key recorded for this machine, where there is one. */
  readonly hostKey: string | undefined
}

export interface TargetOptions {
  readonly host: string | undefined
  readonly port: number | undefined
  readonly user: string | undefined
  readonly hostKey: string | undefined
  readonly sshOptions: readonly string[]
  readonly privilegeEscalation: readonly string[]
}

/** One thing that differs between wanted and present. */
export interface ResourceChange {
  readonly action: 'create' | 'change' | 'recreate'
  /** For the plan: `memory 1024 → 2048 MiB`. */
  readonly detail: string
  /**
   * When it reaches the machine: at once, at the next restart, or only by making the machine anew. `new-disk`: a disk
   * is lost, and only `--allow-recreate` puts an empty one in its place.
   */
  readonly needs: 'nothing' | 'restart' | 'recreate' | 'new-disk'
  /** What may save the disks, where something may: `put it back if there is a copy`. */
  readonly hint?: string
}

export interface AllocationRequest<Config, Allocation> {
  readonly deployment: DeploymentUuid
  readonly machine: MachineName
  readonly index: number
  readonly config: Config
  /** Known already: keep what still fits, so that allocations are stable. */
  readonly known: Allocation | undefined
  /** Loopback TCP ports handed out to any machine of any deployment (this one's excluded). */
  readonly takenPorts: ReadonlySet<number>
  /** What this provider allocated to the other machines of this deployment. */
  readonly siblings: ReadonlyMap<MachineName, Allocation>
}

export interface ReconcileOptions<Handle> {
  /** May a running machine be stopped and started for changes that need it? */
  readonly allowRestart: boolean
  /** May the machine be made anew (its disks are lost), or an empty disk take the place of one that is gone? */
  readonly allowRecreate: boolean
  /** Persists the handle; to be awaited as soon as anything that costs disk or memory exists. */
  checkpoint(handle: Handle): Promise<void>
}

/** Something that can be said about this operator host, and how to mend it. */
export interface Finding {
  /** Stable id, e.g. `libvirt.daemon`; failing steps point to it. */
  readonly id: string
  readonly level: 'ok' | 'note' | 'problem'
  readonly what: string
  /** The exact command that mends it. */
  readonly mend?: string | undefined
}

export interface OrphanResource {
  readonly name: string
  readonly deployment: string
  readonly machine: string
}

/**
 * A backend. Every method converges: calling it again after a crash must be safe, and none touches a
 * resource that does not carry the deployment's mark.
 */
export interface Provider<Config, Allocation, Handle> {
  readonly name: string
  /** Values of `deployment.targetEnv` that mean this provider. */
  readonly targetEnvs: readonly string[]
  /** Its options are `deployment.<optionKey>.*`; undefined = it has none of its own. */
  readonly optionKey: string | undefined
  /** Absolute path of the NixOS module with the same options. */
  readonly optionsNix: string
  readonly configSchema: z.ZodType<Config>
  readonly allocationSchema: z.ZodType<Allocation>
  readonly handleSchema: z.ZodType<Handle>
  /** Does it make machines (and so host keys, disks), or does the machine exist already? */
  readonly makesMachines: boolean

  /** Which base image it needs: a name known to the image store, a path or a URL. */
  imageReference(config: Config): string | undefined
  /** The id of the image a machine was made from. */
  imageId(handle: Handle): string | undefined
  /** Decides MACs, ports, addresses before anything exists. Must not touch the hypervisor's machines. */
  allocate(request: AllocationRequest<Config, Allocation>): Promise<Allocation>
  /** What it writes inside the machine at each boot, so that no definition may write it too. */
  ownedPlaces?(config: Config): readonly OwnedPlace[]
  /** Loopback TCP ports the allocation uses. */
  ports(allocation: Allocation): number[]
  /** Plain data for the evaluation, `nodes.<n>.config.networking.privateIPv4` and such. */
  physical(allocation: Allocation): { privateIPv4?: string; publicIPv4?: string }
  /** URLs it publishes on the operator host, for `info`. */
  publishedUrls(config: Config, allocation: Allocation): string[]
  /** Where it publishes a TCP port of the machine on the operator host. */
  publishedPort?(allocation: Allocation, port: number): { host: string; port: number } | undefined

  inspect(resource: Resource<Config, Allocation, Handle>, run: Run): Promise<Observation>
  /** Reads only. `[]` = present is as wanted. A definition that cannot be met (a disk that shrinks) throws a usage error. */
  plan(resource: Resource<Config, Allocation, Handle>, run: Run): Promise<ResourceChange[]>
  /** Makes present as wanted, without starting it. Returns what is now there. */
  reconcile(
    resource: Resource<Config, Allocation, Handle>,
    options: ReconcileOptions<Handle>,
    run: Run,
  ): Promise<Handle>
  /**
   * Returns a new allocation when a stranger holds one of its ports; a new port is none of `takenPorts`, which
   * were handed out to other machines. They are asked for only then.
   */
  start(
    resource: Resource<Config, Allocation, Handle>,
    run: Run,
    takenPorts?: () => Promise<ReadonlySet<number>>,
  ): Promise<Allocation | undefined>
  /** Asks, waits until the deadline, then cuts. */
  stop(resource: Resource<Config, Allocation, Handle>, options: { graceMs: number }, run: Run): Promise<void>
  /** Succeeds when it is already gone; leaves no disk, NVRAM, seed behind. */
  destroy(resource: Resource<Config, Allocation, Handle>, run: Run): Promise<void>
  target(resource: Resource<Config, Allocation, Handle>, run: Run): Promise<SshTarget>
  /** Short id for `info`'s column "Resource Id". */
  resourceId(resource: Resource<Config, Allocation, Handle>): string

  /** Resources with our mark, whoever's deployment: what `check` compares with the state. */
  listOwned?(run: Run): Promise<OrphanResource[]>
  readonly console?: {
    /** argv of an interactive console, to be run with the user's terminal. */
    command(resource: Resource<Config, Allocation, Handle>): Promise<string[]>
    /** The serial log, oldest boot first; undefined when there is none. */
    logFile(resource: Resource<Config, Allocation, Handle>): string | undefined
  }
  doctor?(run: Run): Promise<Finding[]>
}
