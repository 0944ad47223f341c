import { mkdir, readdir, readlink, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { Nix } from '../src/core/nix.js'
import { expectSuccess, type NixCommand } from './nix-command.js'

/** What runs, and two before it. */
const keptRoots = 3
const rootMs = 60_000

/** GC roots of what was deployed: links `<folder>/<name>-<n>` that Nix knows of. */
export function createRoots(command: NixCommand): Pick<Nix, 'root'> {
  return {
    async root(folder, name, path, run) {
      await mkdir(folder, { recursive: true, mode: 0o700 })
      const roots = await rootsOf(folder, name)
      const newest = roots.at(-1)
      if (newest?.path !== path) {
        const what = 'keep the closure from being collected'
        const link = join(folder, `${name}-${(newest?.number ?? 0) + 1}`)
        // `--indirect` is the default since Nix 2.4 and still understood.
        const args = ['--realise', path, '--add-root', link, '--indirect']
        expectSuccess(
          await command.run('nix-store', args, { signal: run.signal, timeoutMs: rootMs, what }),
          what,
        )
        // An older root of the same path would take the place of another closure.
        await removeRoots(roots.filter((root) => root.path === path))
      }
      await removeRoots((await rootsOf(folder, name)).slice(0, -keptRoots))
    },
  }
}

interface Root {
  readonly link: string
  readonly number: number
  readonly path: string
}

/** Oldest first. A machine's name may end in a number itself, so the whole of it is compared. */
async function rootsOf(folder: string, name: string): Promise<Root[]> {
  const entries = await readdir(folder)
  const roots = await Promise.all(
    entries.map(async (entry) => {
      const number = entry.startsWith(`${name}-`) ? entry.slice(name.length + 1) : ''
      if (!/^\d+$/.test(number)) return []
      const link = join(folder, entry)
      return [{ link, number: Number(number), path: await readlink(link) }]
    }),
  )
  return roots.flat().sort((a, b) => a.number - b.number)
}

async function removeRoots(roots: readonly Root[]): Promise<void> {
  for (const root of roots) await unlink(root.link)
}
