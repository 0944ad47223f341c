import { expect, it } from 'vitest'
import { renderJobs } from '../../../src/network/jobs/files.js'

it.each([
  ['/net/a.nix', '../a.nix'],
  ['/net/a b.nix', '(./. + "/../a b.nix")'],
  ['/net/lab/ü.nix', '(./. + "/../lab/ü.nix")'],
  ['/net/hydra/a b.nix', '(./. + "/a b.nix")'],
  ['/net/hydra/a.nix', './a.nix'],
  ['/net/$' + '{x}.nix', '(./. + "/../\\$' + '{x}.nix")'],
])('hydra/default.nix names %s as %s', (file, text) => {
  expect(renderJobs('/net/hydra', [file])).toContain(`  files = [ ${text} ];\n`)
})
