import { describe, expect, it } from 'vitest'
import { hydraProofTask } from '../../../src/setup/hydra/proof-task.js'
import { debianMachine } from '../../fakes/debian-machine.js'
import { taskMachine } from '../../fakes/task-run.js'

const signedBy = (hydra: Record<string, unknown>) => {
  const admin = { userName: 'alice', roles: ['admin'], password: { generate: true } }
  return hydraProofTask.wanted(taskMachine({ hydra: { enable: true, admin, ...hydra } }))?.publicKeyFile
}
const served = { cache: { enable: true }, nginx: { enable: true } }
const key = '/etc/nix/web/public'

describe('the signature that the proof expects', () => {
  it.each<[string, Record<string, unknown>, string | undefined]>([
    ['nothing is replaced', { ...served, extraConfig: 'max_servers = 2' }, key],
    ['another store is filled', { ...served, extraConfig: 'store_uri = s3://bucket' }, undefined],
    [
      'another key signs, but not the static cache',
      { ...served, extraConfig: 'binary_cache_secret_key_file = /k' },
      key,
    ],
    [
      'another key signs',
      { nixServe: { enable: true }, extraConfig: 'binary_cache_secret_key_file = /k' },
      undefined,
    ],
    ['a block has an option of that name', { ...served, extraConfig: '<x>\nstore_uri = s3://b\n</x>' }, key],
  ])('is right when %s', (_, hydra, file) => {
    expect(signedBy(hydra)).toBe(file)
  })
})

describe('the folder of garbage collector roots', () => {
  it.each(['gc_roots_dir = /srv/roots', 'max_servers = 2\n  gc_roots_dir /srv/roots'])(
    'is refused in extraConfig: %j',
    (extraConfig) => {
      expect(() => debianMachine({ hydra: { enable: true, extraConfig } })).toThrow(
        /gc_roots_dir cannot be replaced/,
      )
    },
  )

  it('may be mentioned in a comment', () => {
    expect(() => debianMachine({ hydra: { enable: true, extraConfig: '# gc_roots_dir = /x' } })).not.toThrow()
  })
})
