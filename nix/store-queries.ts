import { basename, join } from 'node:path'
import { StorePath } from '../src/core/names.js'
import type { ClosureInfo } from '../src/core/nix.js'
import type { Run } from '../src/core/run.js'
import { expectSuccess, type NixCommand } from './nix-command.js'
import { isUnbornStore } from './nix-store-choice.js'

const queryMs = 5 * 60_000

/** Number of paths on one command line: every Linux allows at least 128 KiB, and a path has about 80 bytes. */
export const pathsPerCall = 1_000

/** Queries of the operator's store, which write nothing and create no store. */
export interface StoreQueries {
  /** Returns the given paths that are not valid. */
  invalid(paths: readonly StorePath[], run: Pick<Run, 'signal'>): Promise<StorePath[]>
  /** Returns the path and all its dependencies, dependencies first. */
  requisites(path: StorePath, run: Pick<Run, 'signal'>): Promise<StorePath[]>
  /** Returns the single output of each derivation, in the same order. */
  outputs(drvs: readonly StorePath[], run: Pick<Run, 'signal'>): Promise<StorePath[]>
  closure(path: StorePath, run: Pick<Run, 'signal'>): Promise<ClosureInfo>
  /** Returns the real path of a valid path on this host, because a chroot store is not in `/nix/store`. */
  folderOf(path: StorePath): Promise<string | undefined>
}

export function createStoreQueries(command: NixCommand): StoreQueries {
  const closures = new Map<StorePath, Promise<ClosureInfo>>()
  return {
    invalid,
    async folderOf(path) {
      const missing = await invalid([path], { signal: new AbortController().signal })
      if (missing.length > 0) return undefined
      return join((await command.store()).realStoreDir, basename(path))
    },
    requisites: (path, run) =>
      askPaths(['--query', '--requisites'], [path], 'list the dependencies of a path', run),
    outputs: (drvs, run) => askPaths(['--query', '--outputs'], drvs, 'read the outputs of derivations', run),
    // The dependencies of a path never change, and a plan and a copy both need the list.
    closure(path, run) {
      const known = closures.get(path)
      if (known !== undefined) return known
      const closure = readClosure(path, run)
      closures.set(path, closure)
      closure.catch(() => closures.delete(path))
      return closure
    },
  }

  async function invalid(paths: readonly StorePath[], run: Pick<Run, 'signal'>): Promise<StorePath[]> {
    if (isUnbornStore(await command.store())) return [...paths]
    const what = 'look for paths in the store'
    const lines = await ask(['--check-validity', '--print-invalid'], paths, what, run)
    return lines.map((line) => StorePath.parse(line))
  }

  async function readClosure(path: StorePath, run: Pick<Run, 'signal'>): Promise<ClosureInfo> {
    const paths = await askPaths(['--query', '--requisites'], [path], 'list the dependencies of a path', run)
    const sizes = await ask(['--query', '--size'], paths, 'read the sizes of paths', run)
    return { paths, sizes: new Map(paths.map((each, index) => [each, Number(sizes[index] ?? 0)])) }
  }

  async function askPaths(
    question: readonly string[],
    paths: readonly StorePath[],
    what: string,
    run: Pick<Run, 'signal'>,
  ): Promise<StorePath[]> {
    return (await ask(question, paths, what, run)).map((line) => StorePath.parse(line))
  }

  async function ask(
    question: readonly string[],
    paths: readonly StorePath[],
    what: string,
    run: Pick<Run, 'signal'>,
  ): Promise<string[]> {
    const lines: string[] = []
    for (let at = 0; at < paths.length; at += pathsPerCall) {
      const args = [...question, ...paths.slice(at, at + pathsPerCall)]
      const result = await command.run('nix-store', args, { signal: run.signal, timeoutMs: queryMs, what })
      lines.push(
        ...expectSuccess(result, what)
          .split('\n')
          .filter((line) => line !== ''),
      )
    }
    return lines
  }
}
