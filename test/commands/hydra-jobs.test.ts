import { expect, it } from 'vitest'
import { linesOf } from '../../src/commands/hydra-jobs.js'
import type { JobsInitialised } from '../../src/operations/jobs-init.js'

const made: JobsInitialised = {
  ...{ folder: '/net/hydra', written: ['spec.json'], removed: [], fromGit: true, changedFromGit: false },
  ...{ secretsInGit: [], chosenInputs: {}, missingInputs: [] },
}

it('hydra jobs init prints the address and the nixpkgs that it chose, and only these', () => {
  const chosenInputs = { network: 'https://git.example.org/net.git main', nixpkgs: 'https://n.example.org x' }
  expect(linesOf({ ...made, chosenInputs })).toEqual([
    'wrote hydra/spec.json',
    'Hydra fetches the network from "https://git.example.org/net.git main", the remote of git; --repository names another address',
    'Hydra fetches nixpkgs from "https://n.example.org x", which is a guess; name yours with --nixpkgs "URL BRANCH"',
    'commit these files, and push them: Hydra reads the repository',
  ])
  expect(linesOf(made)).toHaveLength(2)
  expect(linesOf({ ...made, changedFromGit: true })).toContain(
    'deploys now evaluate only files that git tracks, so a new file needs git add; hydra-ops modify --no-from-git undoes the change',
  )
  expect(linesOf({ ...made, secretsInGit: ['a secret'] })).toContain('a secret')
})
