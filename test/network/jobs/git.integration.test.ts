import { mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { localCommands } from '../../../src/exec/local-commands.js'
import { checkoutAt } from '../../../src/network/jobs/git.js'
import { commitAll, git } from '../../nix/network-in-git.js'

let root: string
beforeEach(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), 'ho-git-')))
  writeFileSync(join(root, 'net.nix'), '{ }')
  commitAll(root)
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

const checkout = () => checkoutAt(localCommands, root, new AbortController().signal)

describe('git about a checkout', () => {
  it('counts changed and unknown files, but no ignored one', async () => {
    expect(await checkout().uncommitted()).toBe(0)
    writeFileSync(join(root, 'net.nix'), '{ changed = true; }')
    writeFileSync(join(root, 'new.nix'), '{ }')
    expect(await checkout().uncommitted()).toBe(2)
    writeFileSync(join(root, '.git', 'info', 'exclude'), 'new.nix\n')
    expect(await checkout().uncommitted()).toBe(1)
  })

  it('names the remote origin with the branch, and the remote alone without a branch', async () => {
    expect(await checkout().origin()).toBeUndefined()
    git(root, 'remote', 'add', 'origin', 'git@git.example.org:net.git')
    expect(await checkout().origin()).toBe('git@git.example.org:net.git main')
    git(root, 'checkout', '--quiet', '--detach')
    expect(await checkout().origin()).toBe('git@git.example.org:net.git')
  })

  it.each([
    ['a password', 'https://alice:hunter2@git.example.org/net.git'],
    ['a token in the place of a user', 'https://ghp_1@git.example.org/net.git'],
    ['a token in the place of a password', 'https://x:ghp_1@git.example.org/net.git'],
  ])('hands no address on that holds %s', async (_, url) => {
    git(root, 'remote', 'add', 'origin', url)
    await expect(checkout().origin()).rejects.toThrow('the address of the input 'network' holds a user, a password or a token')
  })

  it('fails with the words of git where git cannot answer', async () => {
    writeFileSync(join(root, '.git', 'HEAD'), 'nonsense')
    await expect(checkout().uncommitted()).rejects.toMatchObject({
      message: expect.stringMatching(/^cannot ask git about .*128/),
      detail: expect.stringContaining('not a git repository'),
    })
  })
})
