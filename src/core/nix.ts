import type { NetworkDefinition } from './definition.js'
import type { MachineName, StorePath } from './names.js'
import type { Run } from './run.js'
import type { Host } from './ssh.js'

/** Flags passed through to Nix. */
export interface NixFlags {
  readonly showTrace: boolean
  /** `--option NAME VALUE` pairs. */
  readonly options: readonly (readonly [string, string])[]
  readonly maxJobs?: string | undefined
  readonly cores?: string | undefined
  readonly keepFailed?: boolean | undefined
  readonly keepGoing?: boolean | undefined
  readonly fallback?: boolean | undefined
  readonly builders?: string | undefined
}

/** What was allocated, given to the evaluation as plain data. */
export interface PhysicalMachine {
  readonly privateIPv4?: string | undefined
  readonly publicIPv4?: string | undefined
  readonly hostKey?: string | undefined
}

export interface EvaluationRequest {
  readonly files: readonly string[]
  readonly searchPath: readonly string[]
  /** Nix text per argument name. */
  readonly args: Readonly<Record<string, string>>
  readonly deployment: { readonly uuid: string; readonly name: string }
  readonly physical: Readonly<Record<string, PhysicalMachine>>
  /** `shape`: names, provider options and tags, no closures. `read`: closures' paths, writing nothing. `write`: .drv files too. */
  readonly mode: 'shape' | 'read' | 'write'
  /** Only these machines' closures; all when undefined. */
  readonly only?: readonly MachineName[] | undefined
  /** What is wrong with one of these is an error; with another it is told in `failed`. Default: those of `only`. */
  readonly required?: readonly MachineName[] | undefined
  readonly flags: NixFlags
}

/** Size of what a machine would have to be sent. */
export interface ClosureInfo {
  /** Dependencies first. */
  readonly paths: readonly StorePath[]
  /** Size of each in bytes, as a NAR. */
  readonly sizes: ReadonlyMap<StorePath, number>
}

export interface Nix {
  /** Which store is used and why, for `doctor`. */
  describeStore(): Promise<{ readonly remote: string; readonly why: string }>
  version(run: Run): Promise<string>
  /** Evaluates and validates; every error is an OpsError with exit code 2 that names machine, file and option. */
  evaluate(request: EvaluationRequest, run: Run): Promise<NetworkDefinition>
  /** Builds derivations; a failure is per derivation, with the last lines of its log. */
  build(
    derivations: ReadonlyMap<MachineName, StorePath>,
    flags: NixFlags,
    run: Run,
  ): Promise<Map<MachineName, { readonly out: StorePath } | { readonly error: Error }>>
  /** True when the path is in the operator's store and valid. */
  isBuilt(path: StorePath): Promise<boolean>
  closure(path: StorePath, run: Run): Promise<ClosureInfo>
  /** Which of these are not valid on the host. */
  missingOn(host: Host, paths: readonly StorePath[], run: Run): Promise<StorePath[]>
  /** Copies a closure; picks the way by what the host allows and says which (`copyMethod`). */
  copy(
    host: Host,
    path: StorePath,
    options: { readonly sshConfig: string; readonly substitute: boolean },
    run: Run,
  ): Promise<void>
  copyMethod(host: Host): string
  /** `nix-store --verify-path` over the closure on the host; deletes and copies again what is broken. Returns what was mended. */
  repair(host: Host, path: StorePath, options: { readonly sshConfig: string }, run: Run): Promise<StorePath[]>
  /** Verifies what the host has of the closure and removes what is broken; copies nothing. Returns what was broken. */
  removeBroken(host: Host, path: StorePath, run: Run): Promise<StorePath[]>
  /** Makes `folder/<name>-<n>` a GC root of the path, keeping the newest three of that name. */
  root(folder: string, name: string, path: StorePath, run: Run): Promise<void>
  /** Removes every root of these names from the folder; their paths may be collected then. */
  forgetRoots(folder: string, names: readonly string[]): Promise<void>
}
