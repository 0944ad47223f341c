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
  /** ssh configuration file for logins to the builders. The user has no flag for it. */
  readonly sshConfig?: string | undefined
}

/** Facts about a machine that its definition lacks, which are passed to the evaluation as plain data. */
export interface PhysicalMachine {
  readonly privateIPv4?: string | undefined
  readonly publicIPv4?: string | undefined
  readonly hostKey?: string | undefined
  /** Names that the disks have inside the machine. */
  readonly disk?: MachineDisk | undefined
  /** Whether the machine's Nix builds on other machines; these machines say so, in `deployment.builder.for`. */
  readonly usesBuilders?: boolean | undefined
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
  /** The path leads to a set with further options. */
  | { readonly kind: 'set'; readonly names: readonly string[] }
  /** The path does not exist; `at` is the existing part of the path. */
  | { readonly kind: 'absent'; readonly at: readonly string[]; readonly known: readonly string[] }
  /** Facts of the provider, as definitions. `counts` shows whether a definition takes effect. */
  | {
      readonly kind: 'facts'
      readonly facts: readonly {
        readonly option: readonly string[]
        readonly value: Json
        /** Priority of the definition, as in `lib.mkOverride`. */
        readonly priority: number
        readonly counts: boolean
      }[]
    }
  /** The machine does not use NixOS modules. */
  | { readonly kind: 'other' }

/** A question about one option, or about the facts of the provider. */
export interface OptionQuestion {
  readonly path: readonly string[]
  /** Name of the machine in question; undefined for all machines. */
  readonly machine: string | undefined
  readonly physical: boolean
}

export interface EvaluationRequest {
  readonly files: readonly string[]
  /** Root of the checkout whose fetched source is evaluated; absent if the files are evaluated in place. */
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
   * - `tasks`: as `shape`, plus the set-up tasks that the services of a NixOS machine replace.
   * - `read`: as `tasks`, plus the paths of the closures, without writing anything.
   * - `write`: as `read`, and also writes the .drv files.
   */
  readonly mode: 'shape' | 'tasks' | 'read' | 'write'
  /** Machines whose closures are evaluated; undefined means all machines. */
  readonly only?: readonly MachineName[] | undefined
  /**
   * Machines whose problems are errors; problems of other machines go to `failed`. Default: the machines in `only`.
   */
  readonly required?: readonly MachineName[] | undefined
  readonly flags: NixFlags
}

/** The paths of a closure and their sizes, for the estimate of a copy to a machine. */
export interface ClosureInfo {
  /** Store paths in dependency order, dependencies first. */
  readonly paths: readonly StorePath[]
  /** The size of each path in bytes, as a NAR. */
  readonly sizes: ReadonlyMap<StorePath, number>
}

/** Options for a fetch from binary caches. */
export interface FetchOptions {
  /** Whether paths without a trusted signature are also accepted. */
  readonly allowUnsigned: boolean
  readonly flags?: NixFlags | undefined
}

/** The problem of a failed fetch, with the last lines of Nix's output. */
export interface FetchProblem {
  /** `full`: no space is left; `unreachable`: a cache does not answer. */
  readonly kind: 'unsigned' | 'absent' | 'unreachable' | 'full' | 'other'
  readonly detail: string
}

/** The caches' answer about a closure. */
export type Fetchable =
  | { readonly kind: 'valid' }
  | { readonly kind: 'fetchable'; readonly paths: number; readonly bytes: number }
  | { readonly kind: 'absent'; readonly problem: FetchProblem }

export interface Nix {
  /** Returns the store in use and the reason, for `doctor`. */
  describeStore(): Promise<{ readonly remote: string; readonly why: string }>
  version(run: Run): Promise<string>
  /** Returns Nix's settings for this user, by name. */
  settings(run: Run): Promise<ReadonlyMap<string, string>>
  /**
   * Evaluates and validates a network. Every error is an OpsError with exit code 2 that names the machine, the file
   * and the option.
   */
  evaluate(request: EvaluationRequest, run: Run): Promise<NetworkDefinition>
  /** Evaluates one option of the network's machines, or the facts from their providers; never returns a secret. */
  showOption(
    request: EvaluationRequest,
    question: OptionQuestion,
    run: Run,
  ): Promise<{ readonly names: readonly string[]; readonly shown: ReadonlyMap<string, ShownOption> }>
  /**
   * Evaluates the image `nixos` for NixOS machines. Machines with the same nixpkgs share an image. Mode `write` also
   * writes the derivations.
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
  /** Tells whether the path is valid in the operator's store. */
  isBuilt(path: StorePath): Promise<boolean>
  /** Returns the folder or file on this host that holds an operator's store path; undefined for an invalid path. */
  folderOf(path: StorePath): Promise<string | undefined>
  closure(path: StorePath, run: Run): Promise<ClosureInfo>
  /** Returns the lines that register the paths in another Nix database. */
  registration(paths: readonly StorePath[], run: Run): Promise<string>
  /** Returns the paths that are not valid on the host. */
  missingOn(host: Host, paths: readonly StorePath[], run: Run): Promise<StorePath[]>
  /** Copies a closure by a method that the host allows, and returns the method (`copyMethod`). */
  copy(
    host: Host,
    path: StorePath,
    options: { readonly sshConfig: string; readonly substitute: boolean },
    run: Run,
  ): Promise<void>
  copyMethod(host: Host): string
  /** Checks whether the caches of a host have a closure, without fetching. An `undefined` host means this host. */
  fetchable(host: Host | undefined, path: StorePath, options: FetchOptions, run: Run): Promise<Fetchable>
  /**
   * Makes a host fetch a closure from its caches, without building. Returns the problem, if any. An `undefined` host
   * means this host.
   */
  fetch(
    host: Host | undefined,
    path: StorePath,
    options: FetchOptions,
    run: Run,
  ): Promise<FetchProblem | undefined>
  /**
   * Runs `nix-store --verify-path` over the closure on the host, then deletes broken paths and copies them again.
   * Returns the repaired paths.
   */
  repair(host: Host, path: StorePath, options: { readonly sshConfig: string }, run: Run): Promise<StorePath[]>
  /**
   * Verifies the closure's paths on the host, and removes broken paths without copying them again. Returns the
   * broken paths.
   */
  removeBroken(host: Host, path: StorePath, run: Run): Promise<StorePath[]>
  /** Creates the GC root `folder/<name>-<n>` for the path, and keeps the newest three roots of that name. */
  root(folder: string, name: string, path: StorePath, run: Run): Promise<void>
  /** Removes every GC root of these names from the folder, so that their paths can be garbage-collected. */
  forgetRoots(folder: string, names: readonly string[]): Promise<void>
}
