import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { fromStored, mapSearchPath, stateRoot, toStored } from '../../state/paths.js'
import { temporaryFolder } from './temporary-store.js'

describe('the state folder', () => {
  it('comes from --state, then HYDRA_OPS_STATE, then the XDG state folder, then HOME', () => {
    const env = { HYDRA_OPS_STATE: '/env', XDG_STATE_HOME: '/xdg', HOME: '/home/alice' }
    expect(stateRoot('/flag', env)).toBe('/flag')
    expect(stateRoot(undefined, env)).toBe('/env')
    expect(stateRoot(undefined, { ...env, HYDRA_OPS_STATE: '' })).toBe('/xdg/hydra-ops')
    expect(stateRoot(undefined, { HOME: '/home/alice' })).toBe('/home/alice/.local/state/hydra-ops')
  })

  it('is absolute, and a relative XDG_STATE_HOME is ignored', () => {
    expect(stateRoot('here', {})).toBe(join(process.cwd(), 'here'))
    expect(stateRoot(undefined, { HOME: '/home/alice', XDG_STATE_HOME: 'xdg' })).toBe(
      '/home/alice/.local/state/hydra-ops',
    )
  })
})

describe('paths in the state', () => {
  const checkout = () => {
    const folder = temporaryFolder()
    mkdirSync(join(folder, '.git'))
    return folder
  }

  it('are relative when the state and the expression lie in one checkout', () => {
    const folder = checkout()
    const root = join(folder, 'infra', 'state')
    expect(toStored(root, join(folder, 'hydra.nix'))).toBe('../../hydra.nix')
    expect(toStored(root, join(root, 'hydra.nix'))).toBe('./hydra.nix')
    for (const path of [join(folder, 'hydra.nix'), join(root, 'a b.nix'), folder]) {
      expect(fromStored(root, toStored(root, path))).toBe(path)
    }
  })

  it('are absolute when the expression lies in another checkout, or in none', () => {
    const folder = checkout()
    const inner = join(folder, 'submodule')
    mkdirSync(inner)
    writeFileSync(join(inner, '.git'), 'gitdir: elsewhere')
    for (const path of [join(inner, 'hydra.nix'), '/srv/hydra.nix']) {
      expect(toStored(join(folder, 'state'), path)).toBe(path)
    }
    expect(toStored('/srv/state', join(folder, 'hydra.nix'))).toBe(join(folder, 'hydra.nix'))
  })

  it('stay unchanged when they are not paths', () => {
    for (const entry of ['<nixpkgs>', 'nixos-24.05', 'flake:nixpkgs']) {
      expect(toStored(checkout(), entry)).toBe(entry)
      expect(fromStored('/srv/state', entry)).toBe(entry)
    }
  })

  it('are found behind their name in -I entries', () => {
    expect(mapSearchPath('nixpkgs=/a', (path) => `${path}!`)).toBe('nixpkgs=/a!')
    expect(mapSearchPath('/a', (path) => `${path}!`)).toBe('/a!')
  })
})
