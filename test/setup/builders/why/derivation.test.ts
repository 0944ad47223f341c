import { describe, expect, it } from 'vitest'
import { readDerivation } from '../../../../src/setup/builders/why/derivation.js'

const path = '/nix/store/00000000000000000000000000000000-x.drv'

function text(env: string, system = 'x86_64-linux'): string {
  return `Derive([("out","/nix/store/1-x","","")],[("/nix/store/2-y.drv",["out"])],["/nix/store/3-z"],"${system}","/bin/sh",["-c","echo ] (\\"\\n"],[${env}])`
}

describe('the text of a derivation', () => {
  it('has the system and the features, whatever stands in other variables', () => {
    const env = String.raw`("name","a \"quoted\" [name]"),("requiredSystemFeatures","kvm  big-parallel"),("system","x86_64-linux")`
    expect(readDerivation(path, text(env, 'aarch64-linux'))).toEqual({
      path,
      system: 'aarch64-linux',
      features: ['kvm', 'big-parallel'],
      prefersLocal: false,
      builtin: false,
    })
    expect(readDerivation(path, text('("preferLocalBuild","1")'))).toMatchObject({
      features: [],
      prefersLocal: true,
    })
  })

  it('may have its attributes as JSON', () => {
    const env = String.raw`("__json","{\"requiredSystemFeatures\":[\"gpu\"],\"preferLocalBuild\":true}")`
    expect(readDerivation(path, text(env))).toMatchObject({ features: ['gpu'], prefersLocal: true })
    const wrong = String.raw`("__json","{\"requiredSystemFeatures\":\"gpu\"}")`
    expect(readDerivation(path, text(wrong))).toMatchObject({ features: [], prefersLocal: false })
  })

  it('names a builder that Nix has itself', () => {
    const fetches = text('', 'builtin').replace('"/bin/sh"', '"builtin:fetchurl"')
    expect(readDerivation(path, fetches)).toMatchObject({ system: 'builtin', builtin: true })
    expect(readDerivation(path, text('', 'builtin'))).toMatchObject({ builtin: false })
  })

  it('may begin with its version', () => {
    const versioned = text('("requiredSystemFeatures","gpu")').replace(
      'Derive(',
      'DrvWithVersion("xp-dyn-drv",',
    )
    expect(readDerivation(path, versioned)).toMatchObject({ system: 'x86_64-linux', features: ['gpu'] })
  })

  it.each(['', 'hello', 'Derive(', 'Derive([],[],[],"x","y",[],[])]', 'Derive("x"', 'Derive([)]'])(
    'is not %j',
    (other) => {
      expect(readDerivation(path, other)).toBeUndefined()
    },
  )
})
