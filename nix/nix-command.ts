import { describeEnd, lastLines } from '../src/core/command-result.js'
import type { LocalCommands } from '../src/core/context.js'
import { failure } from '../src/core/errors.js'
import type { NixFlags } from '../src/core/nix.js'
import type { CommandResult } from '../src/core/ssh.js'
import { chooseStore, type Environment, type NixStore, storeEnvironment } from './nix-store-choice.js'

/** The stable commands: Nix 2.8 to current understand them alike. `nix` only for what has no stable command. */
export type NixTool = 'nix-instantiate' | 'nix-store' | 'nix-env' | 'nix-copy-closure' | 'nix'

export interface NixCommandOptions {
  readonly signal: AbortSignal
  readonly timeoutMs: number
  /** What is being done, for errors: `build the closures`. */
  readonly what: string
  readonly stdin?: string | Uint8Array
  onLine?(line: string): void
  /** Flags of the user, passed through. */
  readonly flags?: NixFlags
  readonly extraEnv?: Readonly<Record<string, string>>
}

/** Nix's programs, run with the environment of the chosen store. */
export interface NixCommand {
  /** The caller checks how it ended, by `expectSuccess` or for itself. */
  run(tool: NixTool, args: readonly string[], options: NixCommandOptions): Promise<CommandResult>
  /** Chosen once. */
  store(): Promise<NixStore>
}

/** Lines of what a command said that are kept as evidence. */
const evidenceLines = 20

export interface NixCommandParts {
  readonly local: Pick<LocalCommands, 'run'>
  /** The state folder, in which our own store lies when there is no other. */
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
      return local.run(argv, { ...options, env: { ...storeEnvironment(await store(), env), ...extraEnv } })
    },
  }
}

/** The user's flags as every one of Nix's programs takes them. */
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

/** Standard output of a command that ended with 0; any other end is an error with the last lines of its output. */
export function expectSuccess(result: CommandResult, what: string): string {
  if (result.kind === 'exited' && result.code === 0) return result.stdout
  throw failure('NIX', `${what}: ${howItEnded(result)}`, { detail: lastLines(result.stderr, evidenceLines) })
}

/** How it ended, for a sentence. */
export function howItEnded(result: CommandResult): string {
  return wasOutOfMemory(result)
    ? 'it was killed (signal 9), most likely because this host ran out of memory'
    : describeEnd(result)
}

/** SIGKILL from nobody we know: the kernel's out-of-memory killer (137 where a shell stands between). */
export function wasOutOfMemory(result: CommandResult): boolean {
  return (
    (result.kind === 'killed' && result.signal === 'SIGKILL') ||
    (result.kind === 'exited' && result.code === 137)
  )
}
