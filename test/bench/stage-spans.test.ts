import { expect, it } from 'vitest'
import { spans } from '../../bench/stage-spans.js'

const log: readonly (readonly [number, string])[] = [
  [1_000, 'building'],
  [2_000, 'ci> build'],
  [3_000, 'ci> reach'],
  [3_500, 'ci> waiting for ssh at 127.0.0.1:28815: no answer'],
  [4_000, 'ci> bootstrap'],
  [5_000, 'ci> apt: installing nix-bin postgresql'],
  [8_000, 'ci> apt: Setting up postgresql'],
  [9_000, 'ci> nix: Nix and its daemon (not done yet)'],
  [10_000, 'ci> nix: done'],
  [11_000, 'ci> setup'],
  [11_000, 'ci> postgresql: PostgreSQL (not done yet)'],
  [12_000, 'ci> hydra: Hydra (not done yet)'],
  [15_000, 'ci> postgresql: done'],
  [16_000, 'ci> hydra: done'],
  [16_000, 'ci> hydra-proof: a build that proves that Hydra works (not done yet)'],
  [20_000, 'ci> hydra-proof: done'],
  [21_000, 'ci> changed in 21 s'],
]

it('the spans of a deploy cover all of its time, and no second twice', () => {
  const seen = spans(
    log.map(([at, text]) => ({ at, text })),
    0,
    22_000,
  )
  expect(seen.map(({ what, whose, seconds }) => [what, whose, seconds])).toEqual([
    ['start, evaluation, plan', 'ours', 2],
    ['build', 'ours', 1],
    ['reach', 'waiting', 1],
    ['bootstrap: apt', 'Debian', 4],
    ['bootstrap', 'ours', 3],
    ['of it task nix', 'ours', 1],
    ['setup', 'ours', 7],
    ['of it task postgresql', 'ours', 4],
    ['of it task hydra', 'ours', 4],
    ['task hydra-proof', 'waiting', 4],
    ['all', '', 22],
    ['of all: 18 %', 'Debian', 4],
    ['of all: 59 %', 'ours', 13],
    ['of all: 23 %', 'waiting', 5],
  ])
})
