import { describeEnd, lastLines } from '../src/core/command-result.js'
import type { LocalCommands } from '../src/core/context.js'
import { failure } from '../src/core/errors.js'
import type { NixFlags } from '../src/core/nix.js'
import type { CommandResult } from '../src/core/ssh.js'
import { chooseStore, type Environment, type NixStore, storeEnvironment } from './nix-store-choice.js'
import { withSpaceless } from './spaceless.js'

/**
 * The stable commands, which Nix 2.8 and all newer versions have. `nix` is used only where no stable command
 * exists.
 */
export type NixTool = 'nix-instantiate' | 'nix-store' | 'nix-env' | 'nix-copy-closure' | 'nix'

export interface NixCommandOptions {
  readonly signal: AbortSignal
  readonly timeoutMs: number
  /** The action, for errors: `build the closures`. */
  readonly what: string
  readonly stdin?: string | Uint8Array
  onLine?(line: string): void
  /** The user's flags, passed on unchanged. */
  readonly flags?: NixFlags
  readonly extraEnv?: Readonly<Record<string, string>>
}

/** Nix's programs, run with the environment of the chosen store. */
export interface NixCommand {
  /** Runs a program; the caller checks the result, by `expectSuccess` or directly. */
  run(tool: NixTool, args: readonly string[], options: NixCommandOptions): Promise<CommandResult>
  /** Returns the store, which is chosen at the first call. */
  store(): Promise<NixStore>
}

/** Number of a command's last lines that an error shows. */
const evidenceLines = 20

export interface NixCommandParts {
  readonly local: Pick<LocalCommands, 'run'>
  /** The state folder, which holds hydra-ops's own store if this user can use no other store. */
  readonly stateRoot: string
  readonly env: Environment
}

export function createNixCommand({ local, stateRoot, env }: NixCommandParts): NixCommand {
  let chosen: Promise<NixStore> | undefined
  const store = () => {
    chosen ??= chooseStore({ stateRoot, env })
    return chosen
  }
  return {
    store,
    async run(tool, args, { flags, extraEnv, ...options }) {
      const argv = [tool, ...args, ...(flags === undefined ? [] : flagArguments(flags))]
      const environment = { ...storeEnvironment(await store(), env), ...extraEnv }
      const { sshConfig } = flags ?? {}
      if (sshConfig === undefined) return local.run(argv, { ...options, env: environment })
      return withSpaceless(sshConfig, (config) =>
        local.run(argv, { ...options, env: { NIX_SSHOPTS: `-F ${config}`, ...environment } }),
      )
    },
  }
}

/** Converts the user's flags to arguments that all programs of Nix accept. */
export function flagArguments(flags: NixFlags): string[] {
  return [
    ...flags.options.flatMap(([name, value]) => ['--option', name, value]),
    ...(flags.maxJobs === undefined ? [] : ['--max-jobs', flags.maxJobs]),
    ...(flags.cores === undefined ? [] : ['--cores', flags.cores]),
    ...(flags.builders === undefined ? [] : ['--builders', flags.builders]),
    ...(flags.keepFailed === true ? ['--keep-failed'] : []),
    ...(flags.keepGoing === true ? ['--keep-going'] : []),
    ...(flags.fallback === true ? ['--fallback'] : []),
    ...(flags.showTrace ? ['--show-trace'] : []),
  ]
}

/**
 * Returns the standard output of a command that exited with 0. Throws for any other result, with the last lines of
 * output.
 */
export function expectSuccess(result: CommandResult, what: string): string {
  if (result.kind === 'exited' && result.code === 0) return result.stdout
  throw failure('NIX', `cannot ${what}: ${howItEnded(result)}`, {
    detail: lastLines(result.stderr, evidenceLines),
  })
}

/** Describes the result, for a sentence. */
export function howItEnded(result: CommandResult): string {
  return wasOutOfMemory(result)
    ? 'the command was killed (signal 9), most likely because this host ran out of memory'
    : describeEnd(result)
}

/**
 * Tells whether the kernel's out-of-memory killer is the likely cause: SIGKILL from an unknown sender (137 from a
 * shell).
 */
export function wasOutOfMemory(result: CommandResult): boolean {
  return (
    (result.kind === 'killed' && result.signal === 'SIGKILL') ||
    (result.kind === 'exited' && result.code === 137)
  )
}
