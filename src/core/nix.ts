import type { NetworkDefinition } from './definition.js'
import type { NixosParts } from './image.js'
import type { Json } from './json.js'
import type { MachineName, StorePath } from './names.js'
import type { MachineDisk } from './provider.js'
import type { Run } from './run.js'
import type { Host } from './ssh.js'

/** Flags that are passed through to Nix. */
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
  /** Configuration of ssh for logins to the builders; never a flag of the user. */
  readonly sshConfig?: string | undefined
}

/** The allocated facts of a machine, which the evaluation gets as plain data. */
export interface PhysicalMachine {
  readonly privateIPv4?: string | undefined
  readonly publicIPv4?: string | undefined
  readonly hostKey?: string | undefined
  /** Names of disks inside the machine. */
  readonly disk?: MachineDisk | undefined
}

/** One machine's answer to a question about an option. */
export type ShownOption =
  | {
      readonly kind: 'option'
      readonly value: Json
      readonly type: string
      readonly description: string | null
      readonly isDefault: boolean
      readonly definitions: readonly { readonly file: string; readonly value: Json }[]
    }
  /** The path leads to options below it. */
  | { readonly kind: 'set'; readonly names: readonly string[] }
  /** There is nothing at the path; `at` is the part of the path that exists. */
  | { readonly kind: 'absent'; readonly at: readonly string[]; readonly known: readonly string[] }
  /** Facts of the provider as definitions, each with whether it counts. */
  | {
      readonly kind: 'facts'
      readonly facts: readonly {
        readonly option: readonly string[]
        readonly value: Json
        /** Priority of the definition, as `lib.mkOverride` takes it. */
        readonly priority: number
        readonly counts: boolean
      }[]
    }
  /** The machine has no modules of NixOS. */
  | { readonly kind: 'other' }

/** An option to look at, or the facts of the provider. */
export interface OptionQuestion {
  readonly path: readonly string[]
  /** The only machine; undefined = all. */
  readonly machine: string | undefined
  readonly physical: boolean
}

export interface EvaluationRequest {
  readonly files: readonly string[]
  /** The root of the checkout from whose fetched source the files are evaluated; absent: the files as they lie. */
  readonly checkout?: string | undefined
  readonly searchPath: readonly string[]
  /** Nix text by argument name. */
  readonly args: Readonly<Record<string, string>>
  readonly deployment: { readonly uuid: string; readonly name: string }
  readonly physical: Readonly<Record<string, PhysicalMachine>>
  /**
   * The depth of the evaluation.
   *
   * - `shape`: names, provider options and tags, without closures.
   * - `tasks`: also what the services of a NixOS machine decide about its set-up tasks.
   * - `read`: paths of the closures too, without writing anything.
   * - `write`: .drv files too.
   */
  readonly mode: 'shape' | 'tasks' | 'read' | 'write'
  /** The machines whose closures are evaluated; undefined means all. */
  readonly only?: readonly MachineName[] | undefined
  /**
   * The machines whose problems are errors; other machines' problems go to `failed`. Default: the machines of `only`.
   */
  readonly required?: readonly MachineName[] | undefined
  readonly flags: NixFlags
}

/** The sizes of a closure's paths, to estimate a copy to a machine. */
export interface ClosureInfo {
  /** Store paths in the order of their dependencies, dependencies first. */
  readonly paths: readonly StorePath[]
  /** The size of each path in bytes, as a NAR. */
  readonly sizes: ReadonlyMap<StorePath, number>
}

/** Options of a fetch from binary caches. */
export interface FetchOptions {
  /** Whether a path without a trusted signature is accepted too. */
  readonly allowUnsigned: boolean
  readonly flags?: NixFlags | undefined
}

/** A fetch that failed, with the last lines of Nix. */
export interface FetchProblem {
  /** `full`: no space is left; `unreachable`: a cache does not answer. */
  readonly kind: 'unsigned' | 'absent' | 'unreachable' | 'full' | 'other'
  readonly detail: string
}

/** Answer of the caches about a closure. */
export type Fetchable =
  | { readonly kind: 'valid' }
  | { readonly kind: 'fetchable'; readonly paths: number; readonly bytes: number }
  | { readonly kind: 'absent'; readonly problem: FetchProblem }

export interface Nix {
  /** Returns the store in use and the reason, for `doctor`. */
  describeStore(): Promise<{ readonly remote: string; readonly why: string }>
  version(run: Run): Promise<string>
  /** Returns the settings of Nix for this user, by name. */
  settings(run: Run): Promise<ReadonlyMap<string, string>>
  /**
   * Evaluates and validates a network. Every error is an OpsError with exit code 2 that names machine, file and option.
   */
  evaluate(request: EvaluationRequest, run: Run): Promise<NetworkDefinition>
  /** Evaluates one option of the network's machines, or the facts that their providers give; never a secret. */
  showOption(
    request: EvaluationRequest,
    question: OptionQuestion,
    run: Run,
  ): Promise<{ readonly names: readonly string[]; readonly shown: ReadonlyMap<string, ShownOption> }>
  /**
   * Evaluates the image `nixos` of NixOS machines; machines of one nixpkgs share an image. Mode `write` makes the
   * derivations too.
   */
  nixosImages(
    request: EvaluationRequest,
    machines: readonly MachineName[],
    run: Run,
  ): Promise<ReadonlyMap<MachineName, NixosParts>>
  /** Builds derivations; each failed derivation is reported with the last lines of its log. */
  build(
    derivations: ReadonlyMap<MachineName, StorePath>,
    flags: NixFlags,
    run: Run,
  ): Promise<Map<MachineName, { readonly out: StorePath } | { readonly error: Error }>>
  /** Tells whether the path is in the operator's store and valid. */
  isBuilt(path: StorePath): Promise<boolean>
  /** Returns the folder or file of this host that holds a path of the operator's store; undefined if it is not valid. */
  folderOf(path: StorePath): Promise<string | undefined>
  closure(path: StorePath, run: Run): Promise<ClosureInfo>
  /** Returns the lines that enter these paths in another Nix database. */
  registration(paths: readonly StorePath[], run: Run): Promise<string>
  /** Returns the paths that are not valid on the host. */
  missingOn(host: Host, paths: readonly StorePath[], run: Run): Promise<StorePath[]>
  /** Copies a closure in a way that the host allows, and returns that way (`copyMethod`). */
  copy(
    host: Host,
    path: StorePath,
    options: { readonly sshConfig: string; readonly substitute: boolean },
    run: Run,
  ): Promise<void>
  copyMethod(host: Host): string
  /** Asks the caches of a host, or of this host if `undefined`, for a closure; fetches nothing. */
  fetchable(host: Host | undefined, path: StorePath, options: FetchOptions, run: Run): Promise<Fetchable>
  /** Lets a host, or this host if `undefined`, fetch a closure from its caches; builds nothing. Returns the problem. */
  fetch(
    host: Host | undefined,
    path: StorePath,
    options: FetchOptions,
    run: Run,
  ): Promise<FetchProblem | undefined>
  /**
   * Runs `nix-store --verify-path` over the closure on the host, then deletes and copies broken paths again. Returns
   * the repaired paths.
   */
  repair(host: Host, path: StorePath, options: { readonly sshConfig: string }, run: Run): Promise<StorePath[]>
  /** Verifies the closure's paths on the host and removes broken ones without copying. Returns the broken paths. */
  removeBroken(host: Host, path: StorePath, run: Run): Promise<StorePath[]>
  /** Makes `folder/<name>-<n>` a GC root of the path, and keeps the newest three roots of that name. */
  root(folder: string, name: string, path: StorePath, run: Run): Promise<void>
  /** Removes every root of these names from the folder, so that their paths may be collected. */
  forgetRoots(folder: string, names: readonly string[]): Promise<void>
}
