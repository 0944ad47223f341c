import { describe, expect, it } from 'vitest'
import type { UsedBuilder } from '../../../src/core/builder-entries.js'
import { MachineName } from '../../../src/core/names.js'
import { buildCause, trialsOf } from '../../../src/setup/builders/proof.js'
import { builderHostKey } from '../../fakes/builder-peers.js'

const b1: UsedBuilder = {
  machine: MachineName.parse('b1'),
  user: 'nix-builder',
  host: 'b1',
  port: 22,
  systems: ['x86_64-linux', 'i686-linux'],
  maxJobs: 1,
  speedFactor: 1,
  supportedFeatures: ['big-parallel'],
  mandatoryFeatures: ['gpu'],
  hostKey: builderHostKey,
}

describe('the builds that prove a builder', () => {
  it('are two for each system, and both require what the builder insists on', () => {
    expect(trialsOf(b1)).toEqual([
      { system: 'x86_64-linux', features: ['gpu'] },
      { system: 'x86_64-linux', features: ['big-parallel', 'gpu'] },
      { system: 'i686-linux', features: ['gpu'] },
      { system: 'i686-linux', features: ['big-parallel', 'gpu'] },
    ])
  })

  it('are one for a system whose features every build requires anyway', () => {
    expect(trialsOf({ ...b1, systems: ['x86_64-linux'], supportedFeatures: ['gpu'] })).toHaveLength(1)
    expect(
      trialsOf({ ...b1, systems: ['x86_64-linux'], supportedFeatures: [], mandatoryFeatures: [] }),
    ).toEqual([{ system: 'x86_64-linux', features: [] }])
  })
})

describe('a build that a builder did not do', () => {
  it.each([
    [
      "error: a 'x86_64-linux' with features {onb} is required to build '/nix/store/x.drv', but I am a 'x86_64-linux' with features {benchmark, kvm}",
      "the build needs 'x86_64-linux' with features {onb}, and the Nix of 'b1' is 'x86_64-linux' with features {benchmark, kvm}",
      'system-features',
    ],
    [
      'error: you are not privileged to build input-addressed derivations\nerror: unexpected end-of-file',
      "the Nix daemon of 'b1' does not trust user 'nix-builder'",
      'trusted-users',
    ],
    [
      'error: writing to file: No space left on device\nerror: unexpected end-of-file',
      'no disk space',
      'make room',
    ],
    ['error: unexpected end-of-file', "'b1' ended the connection", 'journalctl -u nix-daemon'],
  ])('says %j has its cause and its remedy', (text, why, hint) => {
    const cause = buildCause(text, b1)
    expect(cause?.why).toContain(why)
    expect(cause?.hint).toContain(hint)
  })

  it.each([
    [
      "a 'riscv64-linux' with features {} is required to build '/nix/store/x.drv', but I am a 'x86_64-linux' with features {kvm}",
      "put the feature into system-features, or the system into extra-platforms, in the nix.conf of 'b1'",
    ],
    [
      'error: path lacks a valid signature',
      "add nix-builder to trusted-users in the nix.conf of 'b1', then restart its nix-daemon",
    ],
  ])('says %j has a remedy for a builder of somebody else', (text, byHand) => {
    expect(buildCause(text, b1)?.byHand).toBe(byHand)
  })

  it('has no cause of ours if its own program failed', () => {
    expect(buildCause("error: builder for '/nix/store/x.drv' failed with exit code 1", b1)).toBeUndefined()
  })
})
