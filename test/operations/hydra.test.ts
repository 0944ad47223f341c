import { describe, expect, it } from 'vitest'
import { trustSnippet } from '../../src/operations/hydra.js'

describe('the configuration for trusting a cache', () => {
  it('is shown for nix.conf and for NixOS', () => {
    expect(
      trustSnippet([{ machine: 'ci', publicKey: 'ci-1:AAAA=', url: 'http://ci.example.org/static-cache' }]),
    ).toBe(`# nix.conf
extra-substituters = http://ci.example.org/static-cache
extra-trusted-public-keys = ci-1:AAAA=

# NixOS
nix.settings.extra-substituters = [ "http://ci.example.org/static-cache" ];
nix.settings.extra-trusted-public-keys = [ "ci-1:AAAA=" ];`)
  })

  it('names keys alone when nothing serves the cache', () => {
    const text = trustSnippet([{ machine: 'ci', publicKey: 'ci-1:AAAA=', url: undefined }])
    expect(text).not.toContain('substituters')
  })
})
