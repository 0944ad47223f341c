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
  it.each([
    ['a password', 'https://alice:hunter2@git.example.org/net.git'],
    ['a token in the place of a user', 'https://ghp_1@git.example.org/net.git'],
    ['a token in the place of a password', 'https://x:ghp_1@git.example.org/net.git'],
  ])('hands no address on that holds %s', async (_, url) => {
    git(root, 'remote', 'add', 'origin', url)
    await expect(checkout().origin()).rejects.toThrow(
      "the address of the input 'network' holds a user, a password or a token",
    )
  })
})
