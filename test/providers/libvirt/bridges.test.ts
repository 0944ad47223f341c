import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { check } from '../../../nix/definition-errors.js'
import { refuseMissingBridges } from '../../../providers/libvirt/bridges.js'
import { LibvirtConfig } from '../../../providers/libvirt/config.js'
import { createLibvirtProvider } from '../../../providers/libvirt/index.js'
import { DeploymentUuid, MachineName } from '../../../src/core/names.js'
import { plainResource } from './plain-resource.js'

let interfaces: string
beforeEach(() => {
  interfaces = mkdtempSync(join(tmpdir(), 'hydra-ops-net-'))
  mkdirSync(join(interfaces, 'br0', 'bridge'), { recursive: true })
  mkdirSync(join(interfaces, 'eth0'))
})
afterEach(() => rmSync(interfaces, { recursive: true, force: true }))

it('a bridge of this host is accepted', () => {
  expect(() =>
    refuseMissingBridges('web', ['lan', { network: 'x' }, { bridge: 'br0' }], interfaces),
  ).not.toThrow()
})

it('the provider looks for bridges when it decides on the resources of a machine', async () => {
  const local = { run: () => Promise.reject(new Error('nothing is run')) }
  const provider = createLibvirtProvider({ local, interfaces })
  const allocate = (bridge: string) =>
    provider.allocate({
      deployment: DeploymentUuid.parse('0b7c3d1e-1111-4a2b-9c3d-000000000001'),
      machine: MachineName.parse('web'),
      index: 1,
      config: LibvirtConfig.parse({ networks: [{ bridge }] }),
      known: undefined,
      takenPorts: new Set(),
      siblings: new Map(),
    })
  expect((await allocate('br0')).nics).toHaveLength(1)
  await expect(allocate('br1')).rejects.toMatchObject({ exitCode: 2 })
})

it('the provider looks for bridges in each plan, also of a machine with unchanged options', async () => {
  const local = { run: () => Promise.reject(new Error('nothing is run')) }
  const provider = createLibvirtProvider({ local, interfaces })
  const run = { signal: new AbortController().signal, log: () => {} }
  const wanting = async (bridge: string) =>
    provider.plan(plainResource({ config: LibvirtConfig.parse({ networks: [{ bridge }] }) }), run)
  await expect(wanting('br0')).rejects.toThrow('nothing is run')
  rmSync(join(interfaces, 'br0'), { recursive: true })
  await expect(wanting('br0')).rejects.toMatchObject({
    exitCode: 2,
    message: expect.stringContaining("no bridge 'br0'"),
  })
  await expect(wanting('eth0')).rejects.toMatchObject({
    exitCode: 2,
    message: expect.stringContaining("'eth0' is not a bridge"),
  })
})

it.each([
  ['br1', "machine 'web': deployment.libvirtd.networks: this host has no bridge 'br1'"],
  ['eth0', "machine 'web': deployment.libvirtd.networks: 'eth0' is not a bridge"],
])('an interface that is not a bridge is refused before anything is made: %s', (bridge, message) => {
  expect(() => refuseMissingBridges('web', ['lan', { bridge }], interfaces)).toThrow(
    expect.objectContaining({ message, exitCode: 2 }),
  )
})

it('every missing bridge is named once', () => {
  const networks = ['br2', 'br0', 'eth0', 'br1', 'br2'].map((bridge) => ({ bridge }))
  expect(() => refuseMissingBridges('web', networks, interfaces)).toThrow(
    "machine 'web': deployment.libvirtd.networks: this host has no bridge 'br2'; 'eth0' is not a bridge; this host has no bridge 'br1'",
  )
})

it.each([[{ bridg: 'br0' }], [{ bridge: 'br0', network: 'default' }], [{ bridge: 'a/b' }], [5]])(
  'the refusal of a network in another form names the possible forms: %j',
  (network) => {
    const read = check(LibvirtConfig, { networks: [network] }, ['deployment', 'libvirtd'])
    expect('issues' in read ? read.issues.map(({ say }) => say).join() : read).toMatch(
      /^expected (?:"lan", the name of a network of libvirt, \{ network = NAME; \} or \{ bridge = NAME; \}|a name of at most 15 characters without "\/"), got/,
    )
  },
)
