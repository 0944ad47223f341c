import { mkdtempSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { localCommands } from '../../../src/exec/local-commands.js'
import { checkoutAt } from '../../../src/network/jobs/git.js'
import { commitAll, git } from '../../nix/network-in-git.js'

let place: string
let root: string
beforeEach(() => {
  place = mkdtempSync(join(tmpdir(), 'ho-git-'))
  root = join(place, 'net')
  git(place, 'init', '--quiet', '--bare', '--initial-branch=main', 'origin.git')
  git(place, 'init', '--quiet', '--initial-branch=main', 'net')
  writeFileSync(join(root, 'a.nix'), '{ }')
  commitAll(root)
})
afterEach(() => rmSync(place, { recursive: true, force: true }))

const checkout = () => checkoutAt(localCommands, root, new AbortController().signal)
const push = () => {
  git(root, 'remote', 'add', 'origin', join(place, 'origin.git'))
  git(root, 'push', '--quiet', '--set-upstream', 'origin', 'main')
}

describe('git', () => {
  it('counts changes of tracked files, and no untracked file', async () => {
    writeFileSync(join(root, 'note'), 'x')
    expect(await checkout().uncommitted()).toBe(0)
    writeFileSync(join(root, 'a.nix'), '{ a = 1; }')
    expect(await checkout().uncommitted()).toBe(1)
  })

  it('does not rewrite the index when it looks for changes', async () => {
    utimesSync(join(root, 'a.nix'), 1, 1)
    const before = statSync(join(root, '.git/index'), { bigint: true })
    expect(await checkout().uncommitted()).toBe(0)
    const { ino, mtimeNs } = statSync(join(root, '.git/index'), { bigint: true })
    expect([ino, mtimeNs]).toEqual([before.ino, before.mtimeNs])
  })

  it('counts untracked files below one folder, without ignored ones', async () => {
    git(root, 'init', '--quiet', 'hydra')
    rmSync(join(root, 'hydra/.git'), { recursive: true })
    for (const name of ['hydra/a', 'hydra/b', 'hydra/c.tmp', 'note']) writeFileSync(join(root, name), 'x')
    writeFileSync(join(root, '.gitignore'), '*.tmp\n')
    expect(await checkout().untracked('hydra')).toBe(2)
  })

  it('counts commits that the upstream branch lacks', async () => {
    expect(await checkout().unpushed()).toBe(0)
    push()
    expect(await checkout().unpushed()).toBe(0)
    git(root, 'commit', '--quiet', '--allow-empty', '--message=two')
    expect(await checkout().unpushed()).toBe(1)
    git(root, 'checkout', '--quiet', '--detach')
    expect(await checkout().unpushed()).toBe(0)
  })

  it('counts no commit where the upstream branch is gone', async () => {
    push()
    git(root, 'update-ref', '-d', 'refs/remotes/origin/main')
    expect(await checkout().unpushed()).toBe(0)
  })

  it('knows tracked files by their literal names', async () => {
    for (const name of ['token', '*', 'new']) writeFileSync(join(root, name), 'x')
    git(root, '--literal-pathspecs', 'add', 'token')
    expect(await checkout().tracked(['token', '*', 'new'])).toEqual(['token'])
  })

  it('names the remote with the branch of the checkout', async () => {
    expect(await checkout().origin()).toBeUndefined()
    push()
    expect(await checkout().origin()).toBe(`${join(place, 'origin.git')} main`)
    git(root, 'checkout', '--quiet', '--detach')
    expect(await checkout().origin()).toBe(join(place, 'origin.git'))
  })

  it('is refused with its own words for a damaged repository', async () => {
    writeFileSync(join(root, '.git/HEAD'), 'nonsense')
    await expect(checkout().uncommitted()).rejects.toMatchObject({
      message: expect.stringContaining(`cannot ask git about ${root}`),
      detail: expect.stringContaining('not a git repository'),
    })
  })
})
