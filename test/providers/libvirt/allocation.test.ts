import { createServer } from 'node:net'
import { describe, expect, it } from 'vitest'
import { freePort, ports, publishedUrls } from '../../../providers/common/ports.js'
import { allocate } from '../../../providers/libvirt/allocation.js'
import { type LibvirtAllocation, LibvirtConfig } from '../../../providers/libvirt/config.js'
import { deploymentLan, domainUuid, macAddress } from '../../../providers/libvirt/names.js'
import { DeploymentUuid, MachineName } from '../../../src/core/names.js'
import type { AllocationRequest } from '../../../src/core/provider.js'

const deployment = DeploymentUuid.parse('0b7c3d1e-1111-4a2b-9c3d-000000000001')
const web = MachineName.parse('web')

function request(
  config: object = {},
  overrides: Partial<AllocationRequest<LibvirtConfig, LibvirtAllocation>> = {},
): AllocationRequest<LibvirtConfig, LibvirtAllocation> {
  return {
    deployment,
    machine: web,
    index: 1,
    config: LibvirtConfig.parse(config),
    known: undefined,
    takenPorts: new Set(),
    siblings: new Map(),
    ...overrides,
  }
}

describe('an allocation', () => {
  it('gives an ssh port, an address in the deployment’s LAN and QEMU’s own kind of MAC', async () => {
    const allocation = await allocate(request({}, { index: 7 }))
    expect(allocation.sshPort).toBeGreaterThanOrEqual(20_000)
    expect(allocation.sshPort).toBeLessThan(30_000)
    expect(allocation.lan?.address).toMatch(/^10\.77\.\d+\.7$/)
    expect(allocation.nics).toHaveLength(1)
    for (const mac of [allocation.mac, ...allocation.nics]) expect(mac).toMatch(/^52:54:00(:[0-9a-f]{2}){3}$/)
    expect(allocation.mac).not.toBe(allocation.nics[0])
  })

  it('gives each network interface an address of its own, also two in one network, and keeps them', async () => {
    const networks = ['default', 'default', 'lan']
    const allocation = await allocate(request({ networks }))
    expect(new Set([allocation.mac, ...allocation.nics]).size).toBe(4)
    const fewer = await allocate(request({ networks: ['default', 'default'] }, { known: allocation }))
    expect(fewer.nics).toEqual(allocation.nics.slice(0, 2))
  })

  it('puts machines of one deployment into one LAN, and another deployment into another', async () => {
    const lan = async (uuid: DeploymentUuid, index: number) =>
      (await allocate(request({}, { deployment: uuid, index }))).lan
    const [one, two] = [await lan(deployment, 1), await lan(deployment, 2)]
    expect({ ...one, address: '' }).toEqual({ ...two, address: '' })
    const other = await lan(DeploymentUuid.parse('11111111-1111-4111-8111-111111111111'), 1)
    expect([other?.group, other?.port]).not.toEqual([one?.group, one?.port])
  })

  it('stays as it is when networks are added and ports change', async () => {
    const known = await allocate(request())
    const wanted = { networks: ['lan', { bridge: 'br0' }], forwardPorts: [{ host: 8080, guest: 80 }] }
    const next = await allocate(request(wanted, { known }))
    expect(next).toMatchObject({ mac: known.mac, sshPort: known.sshPort, lan: known.lan })
    expect(next.nics[0]).toBe(known.nics[0])
    expect(next.nics).toHaveLength(2)
    expect(ports(next)).toEqual([known.sshPort, 8080])
  })

  it('has no LAN when the machine wants none', async () => {
    expect(await allocate(request({ networks: [] }))).toMatchObject({ lan: null, nics: [] })
  })

  it('never puts ssh on a port that the user wants for something else', async () => {
    const { sshPort } = await allocate(request())
    const known = await allocate(request())
    const next = await allocate(request({ forwardPorts: [{ host: sshPort, guest: 80 }] }, { known }))
    expect(next.sshPort).not.toBe(sshPort)
  })

  it('refuses a forwarded port of another deployment, and leaves its own deployment to the engine', async () => {
    const forwardPorts = [{ host: 8080, guest: 80 }]
    const takenPorts = new Set([8080])
    await expect(allocate(request({ forwardPorts }, { takenPorts }))).rejects.toMatchObject({
      exitCode: 2,
      message: expect.stringMatching(/machine 'web'.*port 8080.*another deployment/),
    })
    const sibling = await allocate(request({ forwardPorts }, { machine: MachineName.parse('db') }))
    const siblings = new Map([[MachineName.parse('db'), sibling]])
    await expect(allocate(request({ forwardPorts }, { takenPorts, siblings }))).resolves.toBeDefined()
  })

  it('steps aside from the MAC of another machine', async () => {
    const first = await allocate(request())
    const siblings = new Map([[MachineName.parse('db'), first]])
    const second = await allocate(request({}, { siblings }))
    expect([second.mac, ...second.nics]).not.toContain(first.mac)
    expect(second.nics).not.toContain(first.nics[0])
  })

  it('has room for 254 machines in a LAN, and tells the next machine so', async () => {
    await expect(allocate(request({}, { index: 254 }))).resolves.toBeDefined()
    await expect(allocate(request({}, { index: 255 }))).rejects.toMatchObject({ exitCode: 2, machine: 'web' })
    await expect(allocate(request({ networks: [] }, { index: 255 }))).resolves.toBeDefined()
  })

  it('takes no port with a listener', async () => {
    const server = createServer()
    const port = await freePort(new Set(), 29_999)
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
    try {
      expect(await freePort(new Set(), port)).not.toBe(port)
    } finally {
      await new Promise((resolve) => server.close(resolve))
    }
  })
})

it('published ports are URLs of the usual service on that port', async () => {
  const guests = [80, 443, 5432]
  const allocation = await allocate(
    request({ forwardPorts: guests.map((guest, index) => ({ host: 9000 + index, guest })) }),
  )
  expect(publishedUrls(allocation)).toEqual([
    'http://127.0.0.1:9000/',
    'https://127.0.0.1:9001/',
    'postgresql://127.0.0.1:9002',
  ])
})

describe('the name of a machine or LAN', () => {
  it('follows from the deployment and the machine alone', () => {
    expect(domainUuid('hydra-ops-a-web')).toBe(domainUuid('hydra-ops-a-web'))
    expect(domainUuid('hydra-ops-a-web')).not.toBe(domainUuid('hydra-ops-a-db'))
    expect(domainUuid('x')).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    expect(macAddress(deployment, 'web', '0', 0)).not.toBe(macAddress(deployment, 'web', '0', 1))
  })

  it('puts every LAN into the multicast block of an organisation, on a port the kernel does not hand out', () => {
    for (let n = 0; n < 100; n += 1) {
      const { group, port, prefix } = deploymentLan(String(n))
      expect(group).toMatch(/^239\.77\.\d{1,3}\.\d{1,3}$/)
      expect(prefix).toMatch(/^10\.77\.\d{1,3}$/)
      expect(port).toBeGreaterThanOrEqual(10_000)
      expect(port).toBeLessThan(20_000)
    }
  })
})
