import { existsSync } from 'node:fs'
import { basename, join, relative } from 'node:path'
import { usageError } from '../src/core/errors.js'
import type { EvaluationRequest } from '../src/core/nix.js'
import { nixString } from '../src/core/nix-string.js'
import type { Run } from '../src/core/run.js'
import { shortPath } from './evaluation-errors.js'
import { expectSuccess, type NixCommand } from './nix-command.js'

/** A request for the fetched files, with functions that restore the user's paths in Nix's output. */
export interface SourcedRequest extends EvaluationRequest {
  /** The files by the paths that the user gave. */
  readonly written: readonly string[]
  /** Replaces the path of the fetched source with the checkout's path, in text for people. */
  restore(text: string): string
  /** Replaces the path of the fetched source with the checkout's path, in JSON text. */
  restoreJson(text: string): string
}

const tenMinutes = 600_000
const same = (text: string) => text

/**
 * Fetches the source of a network that is evaluated from git, as the git input of a Hydra does. The name and
 * content of the folder are then the same as on the Hydra, and so are all derivations. `remote` is the store of
 * this evaluation.
 */
export async function withSource(
  command: NixCommand,
  request: EvaluationRequest,
  { remote, cwd }: { readonly remote: string | undefined; readonly cwd: string },
  run: Run,
): Promise<SourcedRequest> {
  const { checkout, files } = request
  if (checkout === undefined) return { ...request, written: files, restore: same, restoreJson: same }
  const folder = await fetched(command, checkout, { remote, cwd }, run)
  const moved = files.map((file) => join(folder, relative(checkout, file)))
  const absent = files.find((_, index) => !existsSync(moved[index] ?? ''))
  if (absent !== undefined)
    throw usageError(`git does not track the network expression ${shortPath(absent, cwd)}`, {
      hint: 'add the file to git with git add',
    })
  return {
    ...request,
    files: moved,
    written: files,
    restore: (text) => text.replaceAll(folder, checkout),
    restoreJson: (text) => text.replaceAll(quoted(folder), quoted(checkout)),
  }
}

/** Fetches the source, and returns its folder on this host. */
async function fetched(
  command: NixCommand,
  checkout: string,
  { remote, cwd }: { readonly remote: string | undefined; readonly cwd: string },
  run: Run,
): Promise<string> {
  const what = `fetch ${shortPath(checkout, cwd)} from git`
  const result = await command.run(
    'nix-instantiate',
    ['--eval', '--strict', '--json', '--read-write-mode', '-'],
    {
      ...{ signal: run.signal, timeoutMs: tenMinutes, what },
      stdin: `(builtins.fetchGit ${nixString(checkout)}).outPath`,
      extraEnv: remote === undefined ? {} : { NIX_REMOTE: remote },
    },
  )
  const path = String(JSON.parse(expectSuccess(result, what)))
  const store = remote === undefined ? (await command.store()).realStoreDir : join(remote, 'nix/store')
  return join(store, basename(path))
}

/** Returns the text as it appears inside a JSON string. */
function quoted(text: string): string {
  return JSON.stringify(text).slice(1, -1)
}
