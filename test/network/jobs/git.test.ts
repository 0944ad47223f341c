import { describe, expect, it } from 'vitest'
import { refuseSecret } from '../../../src/network/jobs/git.js'

describe('an address of a git repository for Hydra', () => {
  it.each([
    'https://ghp_hunter2@github.com/o/n.git main',
    'https://alice:hunter2@git.example.org/n.git',
    'HTTP://alice@git.example.org/n.git',
    'https://git.example.org/n.git?private_token=hunter2 main',
    'git+https://hunter2@git.example.org/n.git',
    'ssh://git:hunter2@git.example.org/n.git',
    'git://git.example.org/n.git?access_token=hunter2',
  ])('is refused without its text: %s', (value) => {
    expect(() => refuseSecret('nixpkgs', value)).toThrow(
      "the address of the input 'nixpkgs' holds a user, a password or a token, which everybody could read in Hydra",
    )
    expect(() => refuseSecret('nixpkgs', value)).not.toThrow(/hunter2|alice/)
  })

  it.each([
    'https://git.example.org/n.git main',
    'https://git.example.org/@scope/n.git main',
    'https://git.example.org:8443/n.git main',
    'ssh://git@git.example.org/n.git main',
    'git@git.example.org:o/n.git main',
    '/srv/git/n.git feature@2',
    'https://git.example.org/n.git what?',
  ])('is allowed: %s', (value) => {
    expect(() => refuseSecret('network', value)).not.toThrow()
  })
})
