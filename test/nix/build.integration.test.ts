import { cpSync, existsSync, mkdtempSync, readdirSync, readlinkSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createBuilder, failedDerivations } from '../../nix/build.js'
import { createNixCommand } from '../../nix/nix-command.js'
import { createRoots } from '../../nix/roots.js'
import { createStoreQueries } from '../../nix/store-queries.js'
import { OpsError } from '../../src/core/errors.js'
import { MachineName, StorePath } from '../../src/core/names.js'
import { packageRoot } from '../../src/core/package-root.js'
import { localCommands } from '../../src/exec/local-commands.js'
import { noFlags, programPackage, ScratchNix, shellDerivation } from '../fakes/scratch-nix.js'

const scratch = new ScratchNix()
const queries = createStoreQueries(scratch.command)
const { build } = createBuilder(scratch.command, queries)
afterAll(() => scratch.dispose())

async function drvs(expressions: Record<string, string>): Promise<Map<MachineName, StorePath>> {
  const found = new Map<MachineName, StorePath>()
  for (const [name, expression] of Object.entries(expressions)) {
    found.set(MachineName.parse(name), StorePath.parse(await scratch.instantiate(expression)))
  }
  return found
}

type Results = Awaited<ReturnType<typeof build>>

function errorOf(results: Results, name: string): OpsError {
  const result = results.get(MachineName.parse(name))
  if (result === undefined || !('error' in result)) throw new Error(`'${name}' did not fail`)
  if (!(result.error instanceof OpsError)) throw result.error
  return result.error
}

function outOf(results: Results, name: string): StorePath {
  const result = results.get(MachineName.parse(name))
  if (result === undefined || 'error' in result)
    throw new Error(`'${name}' was not built: ${String(result?.error)}`)
  return result.out
}

describe('a build of several machines', () => {
  it('gives every machine its path, also a path that two machines share', async () => {
    const same = programPackage('same')
    const results = await build(
      await drvs({ web: same, db: same, ci: programPackage('other') }),
      noFlags,
      scratch.run,
    )
    expect(outOf(results, 'web')).toBe(outOf(results, 'db'))
    expect(scratch.has(outOf(results, 'ci'))).toBe(true)
  })

  it('leaves paths whose place on this host is known, also in a chroot store', async () => {
    const results = await build(await drvs({ web: programPackage('placed') }), noFlags, scratch.run)
    const folder = await queries.folderOf(outOf(results, 'web'))
    expect(existsSync(join(folder ?? '', 'bin'))).toBe(true)
    expect(await queries.folderOf(StorePath.parse(`/nix/store/${'0'.repeat(32)}-absent`))).toBeUndefined()
  })

  it('fails per machine with the broken dependency and the end of its log; the others are built', async () => {
    const broken = shellDerivation('broken-tool', 'for i in $(seq 30); do echo line $i; done; exit 3')
    const user = (name: string) => shellDerivation(name, 'echo > $out', `needs = ${broken};`)
    const results = await build(
      await drvs({ web: user('one'), db: user('two'), good: programPackage('good') }),
      noFlags,
      scratch.run,
    )
    expect(scratch.has(outOf(results, 'good'))).toBe(true)
    for (const name of ['web', 'db']) {
      const error = errorOf(results, name)
      expect(error.message).toBe('building broken-tool failed (exit code 3)')
      expect(error.machine).toBe(name)
      expect(error.detail?.split('\n').slice(-2)).toEqual(['line 29', 'line 30'])
      expect(error.hint).toMatch(
        /^nix-store --read-log \/nix\/store\/.*-broken-tool\.drv shows the whole log$/,
      )
    }
  })

  it('distinguishes two machines that fail for separate reasons', async () => {
    const results = await build(
      await drvs({ a: shellDerivation('first', 'exit 1'), b: shellDerivation('second', 'kill -9 $$') }),
      noFlags,
      scratch.run,
    )
    expect(errorOf(results, 'a').message).toBe('building first failed (exit code 1)')
    expect(errorOf(results, 'b').message).toMatch(/^building second failed/)
  })

  it('names the remedy for two packages with the same file', async () => {
    const both = `[ ${programPackage('tool', 'a')} ${programPackage('tool', 'b')} ]`
    const profile = join(packageRoot(), 'nix/debian-profile.nix')
    const results = await build(
      await drvs({ web: `import ${profile} { name = "web"; packages = ${both}; }` }),
      noFlags,
      scratch.run,
    )
    const error = errorOf(results, 'web')
    expect(error.message).toMatch(/^building hydra-ops-web failed/)
    expect(error.detail).toContain('bin/tool')
    expect(error.hint).toMatch(/^two packages contain the same file/)
  })

  it('reports a platform that cannot be built for here', async () => {
    const results = await build(
      await drvs({ web: '(derivation { name = "alien"; system = "mips64-plan9"; builder = "/bin/sh"; })' }),
      noFlags,
      scratch.run,
    )
    expect(errorOf(results, 'web').detail).toContain("'mips64-plan9'")
  })

  it('passes the user’s flags on, and the log line by line', async () => {
    scratch.lines.length = 0
    await build(
      await drvs({ web: shellDerivation('talks', 'echo said; echo > $out') }),
      { ...noFlags, cores: '1', options: [['max-build-log-size', '0']] },
      scratch.run,
    )
    expect(scratch.lines).toContain('said')
    expect(scratch.lines.join('\n')).not.toContain('add-root')
  })
})

describe('a question to the store', () => {
  it('reveals valid paths, their references and their size', async () => {
    const dependency = programPackage('dependency')
    const results = await build(
      await drvs({ web: shellDerivation('user', 'echo $needs > $out', `needs = ${dependency};`) }),
      noFlags,
      scratch.run,
    )
    const out = outOf(results, 'web')
    const { paths, sizes } = await queries.closure(out, scratch.run)
    expect(paths).toHaveLength(2)
    expect(paths.at(-1)).toBe(out)
    expect(sizes.get(out)).toBeGreaterThan(100)
    const gone = StorePath.parse(`/nix/store/${'a'.repeat(32)}-gone`)
    expect(await queries.invalid([...paths, gone], scratch.run)).toEqual([gone])
  })

  it('creates no store when there is none', async () => {
    const folder = join(scratch.folder, 'unborn')
    const command = createNixCommand({ local: localCommands, stateRoot: folder, env: { NIX_REMOTE: folder } })
    const path = StorePath.parse(`/nix/store/${'a'.repeat(32)}-gone`)
    expect(await createStoreQueries(command).invalid([path], scratch.run)).toEqual([path])
    expect(existsSync(folder)).toBe(false)
  })
})

describe('a set of GC roots', () => {
  const folder = join(scratch.folder, 'deployment', 'gcroots')
  const { root } = createRoots(scratch.command, queries)
  const outs: StorePath[] = []

  beforeAll(async () => {
    const expressions = Object.fromEntries(
      [0, 1, 2, 3, 4].map((n) => [`m${n}`, programPackage('version', String(n))]),
    )
    const results = await build(await drvs(expressions), noFlags, scratch.run)
    outs.push(...Object.keys(expressions).map((name) => outOf(results, name)))
  })

  const links = (of = folder) =>
    Object.fromEntries(
      readdirSync(of).flatMap((name) => (name === 'place' ? [] : [[name, readlinkSync(join(of, name))]])),
    )

  it('keeps the running closure and two before it, per machine, through a collection', async () => {
    for (const out of outs) await root(folder, 'web', out, scratch.run)
    await root(folder, 'web-2', outs[1] as StorePath, scratch.run)
    expect(links()).toEqual({ 'web-3': outs[2], 'web-4': outs[3], 'web-5': outs[4], 'web-2-1': outs[1] })
    await scratch.nix('nix-store', ['--gc'])
    expect(outs.map((out) => scratch.has(out))).toEqual([false, true, true, true, true])
  })

  it('is left alone when nothing changed, and moves when an older closure comes back', async () => {
    await root(folder, 'web', outs[4] as StorePath, scratch.run)
    expect(Object.keys(links()).sort()).toEqual(['web-2-1', 'web-3', 'web-4', 'web-5'])
    await root(folder, 'web', outs[2] as StorePath, scratch.run)
    expect(links()).toEqual({ 'web-4': outs[3], 'web-5': outs[4], 'web-6': outs[2], 'web-2-1': outs[1] })
  })

  it.each([
    ['renamed', (from: string, to: string) => renameSync(from, to)],
    [
      'renamed, as by an older version that noted no place',
      (from: string, to: string) => {
        rmSync(join(from, 'place'))
        renameSync(from, to)
      },
    ],
    [
      'copied to another place and removed at the old one',
      (from: string, to: string) => {
        cpSync(from, to, { recursive: true, verbatimSymlinks: true })
        rmSync(from, { recursive: true })
      },
    ],
  ])('keeps the closures of every machine after their folder was %s', async (how, move) => {
    const expressions = [0, 1, 2].map((n) => [`r${n}`, programPackage(`moved-${how.length}`, String(n))])
    const results = await build(await drvs(Object.fromEntries(expressions)), noFlags, scratch.run)
    const [older, newer, other] = ['r0', 'r1', 'r2'].map((name) => outOf(results, name))
    if (older === undefined || newer === undefined || other === undefined) throw new Error('all were built')
    const parent = mkdtempSync(join(scratch.folder, 'move-'))
    const [from, to] = [join(parent, 'old'), join(parent, 'new')]
    await root(from, 'web', older, scratch.run)
    await root(from, 'web', newer, scratch.run)
    await root(from, 'db', other, scratch.run)
    move(from, to)
    await Promise.all([root(to, 'web', newer, scratch.run), root(to, 'db', other, scratch.run)])
    await scratch.nix('nix-store', ['--gc'])
    expect([older, newer, other].map((out) => scratch.has(out))).toEqual([true, true, true])
    expect(links(to)).toEqual({ 'web-1': older, 'web-2': newer, 'db-1': other })
  })

  it('goes on after a collection that came between the move of the folder and the deploy', async () => {
    const expressions = { g: programPackage('collected', '1') }
    const built = async () => outOf(await build(await drvs(expressions), noFlags, scratch.run), 'g')
    const parent = mkdtempSync(join(scratch.folder, 'move-'))
    await root(join(parent, 'old'), 'web', await built(), scratch.run)
    renameSync(join(parent, 'old'), join(parent, 'new'))
    await scratch.nix('nix-store', ['--gc'])
    const again = await built()
    await root(join(parent, 'new'), 'web', again, scratch.run)
    await scratch.nix('nix-store', ['--gc'])
    expect(scratch.has(again)).toBe(true)
  })
})

it('the parser reads the failures of newer Nix, too', () => {
  // The text comes from a transcript in nix-community/nix4vscode#365.
  const stderr = `error: Cannot build '/nix/store/${'b'.repeat(32)}-inner.drv'.
       Reason: builder failed with exit code 1.
       Output paths:
         /nix/store/${'d'.repeat(32)}-inner
error: Cannot build '/nix/store/${'c'.repeat(32)}-outer.drv'.
       Reason: 1 dependency failed.
`
  expect([...failedDerivations(stderr)]).toEqual([[`/nix/store/${'b'.repeat(32)}-inner.drv`, 'exit code 1']])
})
