import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { CommandResult } from '../../src/core/ssh.js'
import { caches, generatedPassword, openHydra, trustSnippet } from '../../src/operations/hydra.js'
import { fakeHydra } from '../fakes/fake-hydra-users.js'
import type { FakeOps } from '../fakes/fake-ops.js'

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

describe('a deployment with Hydras', () => {
  let ops: FakeOps
  afterEach(() => ops.cleanup())

  /** Programs that were run here, and how each of them ends. */
  let ran: (readonly string[])[]
  const deployed = async (machines: string[], end: CommandResult) => {
    ops = (await fakeHydra({}, machines)).ops
    const run = async (argv: readonly string[]) => {
      ran.push(argv)
      return end
    }
    Object.assign(ops, { local: { ...ops.local, run } })
  }
  beforeEach(() => {
    ran = []
  })

  it('opens its only Hydra in the browser, or else says which address to open', async () => {
    await deployed(['ci'], { kind: 'exited', code: 0, stdout: '', stderr: '' })
    expect(await openHydra(ops, undefined)).toEqual({ machine: 'ci', url: 'http://127.0.0.1:8080' })
    expect(ran).toEqual([['xdg-open', 'http://127.0.0.1:8080']])
    ops.cleanup()
    await deployed(['ci'], { kind: 'exited', code: 3, stdout: '', stderr: '' })
    await expect(openHydra(ops, undefined)).rejects.toMatchObject({
      code: 'BROWSER',
      message: 'no browser could be opened',
      hint: 'open this address yourself: http://127.0.0.1:8080',
    })
  })

  it('opens none of several', async () => {
    await deployed(['east', 'west'], { kind: 'exited', code: 0, stdout: '', stderr: '' })
    await expect(openHydra(ops, undefined)).rejects.toMatchObject({
      exitCode: 2,
      message: 'there is more than one Hydra',
      hint: 'hydra-ops hydra url lists all of them',
    })
    expect(ran).toEqual([])
  })

  it('says that it has no cache, and no generated password', async () => {
    await deployed(['ci'], { kind: 'exited', code: 0, stdout: '', stderr: '' })
    await expect(caches(ops, undefined)).rejects.toMatchObject({
      code: 'NO_CACHE',
      message: expect.stringMatching(/^deployment '.*' has no binary cache yet$/),
      hint: 'set deployment.hydra.cache.enable = true, then run hydra-ops deploy',
    })
    await expect(generatedPassword(ops, undefined, 'alice')).rejects.toMatchObject({
      message: expect.stringMatching(/^hydra-ops generated no password for a user 'alice' of deployment '/),
      hint: expect.stringContaining('password.generate = true'),
    })
  })
})
