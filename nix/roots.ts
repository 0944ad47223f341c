import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, readlink, unlink } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import pLimit from 'p-limit'
import { replaceFile } from '../src/core/durable-file.js'
import { errnoOf } from '../src/core/file-failure.js'
import { StorePath } from '../src/core/names.js'
import type { Nix } from '../src/core/nix.js'
import type { Run } from '../src/core/run.js'
import { settleAll } from '../src/core/settle.js'
import { expectSuccess, type NixCommand } from './nix-command.js'
import type { StoreQueries } from './store-queries.js'

/** Number of roots that a machine keeps: the current closure and two older ones. */
const keptRoots = 3
const rootMs = 60_000
/** Number of parallel processes, each of which registers a link with Nix. */
const linksAtOnce = 8
const what = 'protect the closure from garbage collection'

/** Name of the file with the folder's own path at the time when its links were registered. */
const placeName = 'place'

/** Keeps GC roots of deployed closures: links `<folder>/<name>-<n>` that are registered with Nix. */
export function createRoots(
  command: NixCommand,
  queries: Pick<StoreQueries, 'invalid'>,
): Pick<Nix, 'root' | 'forgetRoots'> {
  const renewals = new Map<string, Promise<void>>()

  const addRoot = async (link: string, path: string, run: Run) => {
    // Nix still accepts `--indirect`, which has been the default since 2.4.
    const args = ['--realise', path, '--add-root', link, '--indirect']
    const result = await command.run('nix-store', args, { signal: run.signal, timeoutMs: rootMs, what })
    expectSuccess(result, what)
  }

  /**
   * Registers every link again after a move of the state folder, because Nix stores absolute paths. Nix needs one
   * process for each link.
   */
  const renew = async (folder: string, run: Run) => {
    const roots = (await rootsIn(folder)).flatMap(({ link, path }) => {
      const closure = StorePath.safeParse(path)
      return closure.success ? [{ link, path: closure.data }] : []
    })
    // Garbage collection since the move removed these paths, and nothing restores them.
    const gone = new Set(await queries.invalid([...new Set(roots.map(({ path }) => path))], run))
    const kept = roots.filter(({ path }) => !gone.has(path))
    if (kept.length > 0) run.log(`updating the GC roots of ${kept.length} closures in ${folder}`)
    const limit = pLimit(linksAtOnce)
    await settleAll(kept.map(({ link, path }) => limit(addRoot, link, path, run)))
    await replaceFile(join(folder, placeName), folder)
  }

  /** Renews the links of all machines once, even if several machines need this in parallel. */
  const renewOnce = async (folder: string, run: Run) => {
    if ((await placeOf(folder)) === folder) return
    const renewal = renewals.get(folder) ?? renew(folder, run)
    renewals.set(folder, renewal)
    try {
      await renewal
    } finally {
      renewals.delete(folder)
    }
  }

  return {
    async root(given, name, path, run) {
      const folder = resolve(given)
      await mkdir(folder, { recursive: true, mode: 0o700 })
      await renewOnce(folder, run)
      const roots = await rootsOf(folder, name)
      const newest = roots.at(-1)
      if (newest?.path !== path) {
        await addRoot(join(folder, `${name}-${(newest?.number ?? 0) + 1}`), path, run)
        // An older root of the same path would otherwise count as one of the kept closures.
        await removeRoots(roots.filter((root) => root.path === path))
      }
      await removeRoots((await rootsOf(folder, name)).slice(0, -keptRoots))
    },

    async forgetRoots(folder, names) {
      if (!existsSync(folder)) return
      await removeRoots(await rootsIn(folder, names))
    },
  }
}

/** Reads the folder's path at the time when its links were registered; undefined where no note exists. */
async function placeOf(folder: string): Promise<string | undefined> {
  try {
    return await readFile(join(folder, placeName), 'utf8')
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw error
  }
}

interface Root {
  readonly link: string
  readonly name: string
  readonly number: number
  readonly path: string
}

/** Lists the roots of one name, oldest first. A machine's name may end in a number, so the whole name is compared. */
async function rootsOf(folder: string, name: string): Promise<Root[]> {
  return (await rootsIn(folder, [name])).sort((a, b) => a.number - b.number)
}

/** Lists the roots of a folder, or of some names only: a folder for many machines can have a thousand links. */
async function rootsIn(folder: string, names?: readonly string[]): Promise<Root[]> {
  const roots = await Promise.all(
    (await readdir(folder)).map(async (entry) => {
      const [, name = '', number] = /^(.+)-(\d+)$/.exec(entry) ?? []
      if (number === undefined || names?.includes(name) === false) return []
      const link = join(folder, entry)
      try {
        return [{ link, name, number: Number(number), path: await readlink(link) }]
      } catch (error) {
        // A parallel deploy of another machine removed its own old link.
        if (errnoOf(error) === 'ENOENT') return []
        throw error
      }
    }),
  )
  return roots.flat()
}

async function removeRoots(roots: readonly Root[]): Promise<void> {
  for (const root of roots) await unlink(root.link)
}
