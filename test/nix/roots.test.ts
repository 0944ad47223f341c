import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { NixCommand } from '../../nix/nix-command.js'
import { createRoots } from '../../nix/roots.js'
import { createStoreQueries } from '../../nix/store-queries.js'
import { StorePath } from '../../src/core/names.js'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hydra-ops-roots-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

const closureOf = (name: string) => StorePath.parse(`/nix/store/${'a'.repeat(32)}-hydra-ops-${name}`)

/** A Nix that has all closures except the collected ones, and counts its concurrent calls. */
class CountingNix {
  readonly asked: (readonly string[])[] = []
  readonly renewed: string[] = []
  mostAtOnce = 0
  #now = 0

  readonly #collected: readonly string[]

  constructor(collected: readonly string[] = []) {
    this.#collected = collected
  }

  readonly command: NixCommand = {
    store: async () => ({
      kind: 'own',
      remote: folder,
      why: 'a test',
      realStoreDir: folder,
      buildsHere: true,
      chroot: true,
    }),
    run: async (_, args) => {
      this.#now += 1
      this.mostAtOnce = Math.max(this.mostAtOnce, this.#now)
      await new Promise((resolve) => setImmediate(resolve))
      this.#now -= 1
      if (args.includes('--add-root')) this.renewed.push(args[args.indexOf('--add-root') + 1] ?? '')
      else this.asked.push(args)
      const gone = args.includes('--print-invalid')
        ? this.#collected.filter((path) => args.includes(path))
        : []
      return { kind: 'exited', code: 0, stdout: gone.map((path) => `${path}\n`).join(''), stderr: '' }
    },
  }

  async root(name: string): Promise<string[]> {
    const logged: string[] = []
    const run = { signal: new AbortController().signal, log: (line: string) => void logged.push(line) }
    await createRoots(this.command, createStoreQueries(this.command)).root(folder, name, closureOf(name), run)
    return logged
  }
}

const machines = Array.from({ length: 60 }, (_, n) => `m${n}`)
const linkOf = (name: string) => join(folder, `${name}-1`)
const linked = () => {
  for (const name of machines) symlinkSync(closureOf(name), linkOf(name))
}

it('the links of a moved folder are renewed with one question, a few at once, and the log says so', async () => {
  linked()
  const nix = new CountingNix([closureOf('m3')])
  expect(await nix.root('m0')).toEqual([`updating the GC roots of 59 closures in ${folder}`])
  expect(nix.asked).toHaveLength(1)
  expect(nix.renewed.sort()).toEqual(
    machines
      .filter((name) => name !== 'm3')
      .map(linkOf)
      .sort(),
  )
  expect(nix.mostAtOnce).toBeGreaterThan(1)
  expect(nix.mostAtOnce).toBeLessThanOrEqual(8)
  expect(readFileSync(join(folder, 'place'), 'utf8')).toBe(folder)
})

it('a folder in its old place has nothing to renew, and nothing is logged', async () => {
  linked()
  await new CountingNix().root('m0')
  const nix = new CountingNix()
  expect([await nix.root('m0'), nix.asked, nix.renewed]).toEqual([[], [], []])
})

it('the first root of a folder is the only root that is registered with Nix', async () => {
  const nix = new CountingNix()
  expect([await nix.root('web'), nix.asked, nix.renewed]).toEqual([[], [], [linkOf('web')]])
  expect(readdirSync(folder)).toEqual(['place'])
})

it('a foreign link is left as it is', async () => {
  symlinkSync('/nowhere', join(folder, 'own-1'))
  const nix = new CountingNix()
  await nix.root('web')
  expect(nix.renewed).toEqual([linkOf('web')])
})
