import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { LocalCommands } from '../../src/core/context.js'
import { localCommands } from '../../src/exec/local-commands.js'
import { buildingFolder, makeScratch, sweepUnfinished } from '../../src/images/folder.js'
import { createImageStore } from '../../src/images/store.js'

let root: string
let scratch: string
const run = { signal: new AbortController().signal, log: () => {} }
const wish = { ...run, timeoutMs: 60_000, what: 'make the files of a killed mmdebstrap' }

/** Leaves the remains of a killed build: a root file system owned by users of mmdebstrap's namespace. */
beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'hydra-ops-killed-'))
  const building = buildingFolder(root, '1-1')
  mkdirSync(building)
  scratch = makeScratch(building)
  const tree = join(scratch, 'mmdebstrap.abc')
  mkdirSync(tree)
  chmodSync(tree, 0o777)
  const made = await localCommands.run(
    ['mmdebstrap', '--unshare-helper', 'sh', '-c', 'mkdir -p rootfs/bin && echo text > rootfs/bin/file'],
    { ...wish, cwd: tree },
  )
  expect(made).toMatchObject({ kind: 'exited', code: 0 })
  expect(statSync(join(tree, 'rootfs')).uid).not.toBe(process.getuid?.())
})
afterEach(async () => {
  if (existsSync(scratch)) {
    chmodSync(scratch, 0o755)
    const argv = ['mmdebstrap', '--unshare-helper', 'rm', '-rf', 'mmdebstrap.abc/rootfs']
    await localCommands.run(argv, { ...wish, cwd: scratch })
  }
  for (const each of [root, scratch]) rmSync(each, { recursive: true, force: true })
})

describe('the next build after a killed one', () => {
  it('removes the files of the users of a namespace', async () => {
    await sweepUnfinished(localCommands, root, run)
    expect(existsSync(scratch)).toBe(false)
    expect(existsSync(buildingFolder(root, '1-1'))).toBe(false)
  })

  it('removes them beside a read-only copy of a store path', async () => {
    const copy = join(scratch, 'copy')
    mkdirSync(copy)
    writeFileSync(join(copy, 'file'), 'text')
    chmodSync(copy, 0o555)
    await sweepUnfinished(localCommands, root, run)
    expect(existsSync(scratch)).toBe(false)
  })

  it('names the folder and the command that removes it, where mmdebstrap cannot', async () => {
    const local = {
      run: async () => ({ kind: 'exited' as const, code: 1, stdout: '', stderr: 'E: newuidmap failed\n' }),
    }
    await expect(sweepUnfinished(local, root, run)).rejects.toMatchObject({
      code: 'IMAGE_LEFTOVER',
      message: `cannot remove ${scratch} of an unfinished build`,
      detail: 'E: newuidmap failed',
      hint: `remove it by hand, then try again: sudo rm -rf ${scratch}`,
    })
    expect(existsSync(buildingFolder(root, '1-1'))).toBe(true)
  })
})

describe('a build that fails', () => {
  it('shows its own error, also where its files cannot be removed', async () => {
    const logged: string[] = []
    const local: LocalCommands = {
      ...localCommands,
      run: async (argv, options) => {
        if (argv.includes('--unshare-helper'))
          return { kind: 'exited', code: 1, stdout: '', stderr: 'E: no\n' }
        if (argv[0] !== 'mmdebstrap') return localCommands.run(argv, options)
        // The note of this build now names the leftovers of the killed build.
        writeFileSync(
          join(root, readdirSync(root).find((each) => each.startsWith('.building-')) ?? '', 'scratch'),
          scratch,
        )
        return { kind: 'exited', code: 1, stdout: '', stderr: 'E: the mirror is gone\n' }
      },
    }
    rmSync(buildingFolder(root, '1-1'), { recursive: true })
    const store = createImageStore({ root, local })
    const watched = { ...run, log: (line: string) => void logged.push(line) }
    await expect(store.ensure('debian-12-bare', watched)).rejects.toMatchObject({ code: 'IMAGE_BUILD' })
    expect(logged.join('\n')).toContain(`cannot remove ${scratch} of an unfinished build`)
  })
})
