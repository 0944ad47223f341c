import type { LocalCommands } from '../src/core/context.js'
import { failure } from '../src/core/errors.js'
import type { Nix } from '../src/core/nix.js'
import { createBuilder } from './build.js'
import { createCopier } from './copy.js'
import { createEvaluator, type EvaluatorParts } from './evaluate.js'
import { createNixCommand, expectSuccess } from './nix-command.js'
import type { Environment } from './nix-store-choice.js'
import { createImageEvaluator } from './nixos-images.js'
import { createRegistration } from './registration.js'
import { createRoots } from './roots.js'
import { createOptionReader } from './show-option.js'
import { createStoreQueries } from './store-queries.js'
import { createSubstituter } from './substitute.js'

const askMs = 60_000

export interface NixParts extends Omit<EvaluatorParts, 'command'> {
  readonly local: LocalCommands
  /** The state folder, which holds hydra-ops's own store if this user can use no other store. */
  readonly stateRoot: string
  readonly env: Environment
}

/** Creates Nix on the operator host: evaluation, builds, roots, and copies to machines. */
export function createNix({ local, stateRoot, env, ...evaluation }: NixParts): Nix {
  const command = createNixCommand({ local, stateRoot, env })
  const queries = createStoreQueries(command)
  return {
    ...createBuilder(command, queries),
    ...createCopier({ command, queries, env, spawnReadable: local.spawnReadable }),
    ...createRoots(command, queries),
    ...createSubstituter(command),
    evaluate: createEvaluator({ ...evaluation, command }),
    nixosImages: createImageEvaluator({ ...evaluation, command }),
    showOption: createOptionReader({ ...evaluation, command }),
    closure: queries.closure,
    folderOf: queries.folderOf,
    registration: createRegistration(command),

    async describeStore() {
      const { remote, why } = await command.store()
      return { remote, why }
    },

    async version(run) {
      const what = 'ask Nix for its version'
      const options = { signal: run.signal, timeoutMs: askMs, what }
      const said = expectSuccess(await command.run('nix-store', ['--version'], options), what)
      const version = /\d+\.\d+\S*/.exec(said)?.[0]
      if (version === undefined)
        throw failure('NIX', `cannot find the version of Nix in its output: ${said.trim()}`)
      return version
    },

    async settings(run) {
      const what = 'ask Nix for its settings'
      const options = { signal: run.signal, timeoutMs: askMs, what }
      const ask = (words: readonly string[]) =>
        command.run('nix', ['--extra-experimental-features', 'nix-command', ...words], options)
      // Newer versions of Nix have renamed the command.
      const first = await ask(['show-config'])
      const answer = first.kind === 'exited' && first.code === 0 ? first : await ask(['config', 'show'])
      const lines = expectSuccess(answer, what).split('\n')
      return new Map(
        lines.flatMap((line): [string, string][] => {
          const at = line.indexOf(' = ')
          return at < 0 ? [] : [[line.slice(0, at), line.slice(at + 3)]]
        }),
      )
    },

    async isBuilt(path) {
      return (await queries.folderOf(path)) !== undefined
    },
  }
}
