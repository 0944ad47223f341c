import { describe, expect, it } from 'vitest'
import { allocate } from '../../../providers/virtualbox/allocation.js'
import { imageReference, ownedPlaces, VirtualBoxConfig } from '../../../providers/virtualbox/config.js'
import { rootMiB } from '../../../providers/virtualbox/disks.js'
import { serialArgs, settingsArgs, specDigest } from '../../../providers/virtualbox/machine-spec.js'
import { machineUuid } from '../../../providers/virtualbox/names.js'
import { placesOf } from '../../../providers/virtualbox/places.js'
import { wantedHandle, wantedSpec } from '../../../providers/virtualbox/wanted.js'
import { plainResource } from './plain-resource.js'

const image = {
  id: 'sha256-1',
  reference: '/srv/cloud.qcow2',
  disk: '/srv/cloud.qcow2',
  format: 'qcow2' as const,
  virtualBytes: 2 * 1024 ** 3,
  identity: 'nocloud' as const,
}

function machine(config: object) {
  const resource = plainResource({ config: VirtualBoxConfig.parse(config), image })
  const handle = wantedHandle(placesOf(resource), resource)
  return { handle, spec: wantedSpec(resource, handle) }
}

describe('deployment.virtualbox', () => {
  it('takes the options of a NixOps network', () => {
    const parsed = VirtualBoxConfig.parse({
      memorySize: 4096,
      vcpu: null,
      headless: true,
      vmFlags: ['--nested-hw-virt', 'on'],
      disks: { disk1: { port: 0, size: 0, baseImage: '/srv/nixos.vmdk' }, data: { port: 3, size: 2048 } },
      sharedFolders: { home: { hostPath: '/home/me' } },
    })
    expect(parsed.sharedFolders.home).toEqual({ hostPath: '/home/me', readOnly: true })
    expect(imageReference(parsed)).toBe('/srv/nixos.vmdk')
  })

  it('needs no port for disk1, which has the first one', () => {
    const { spec } = machine({ disks: { disk1: { size: 20_480 }, data: { port: 3, size: 2048 } } })
    expect(spec.disks.map(({ port, title }) => [title, port])).toEqual(
      expect.arrayContaining([
        ['disk1', 0],
        ['data', 3],
      ]),
    )
  })

  it.each([
    [
      'two disks at one port',
      { disks: { a: { port: 1, size: 1 }, b: { port: 1, size: 1 } } },
      /same port twice/,
    ],
    ['a disk at the port of the system', { disks: { a: { port: 0, size: 1 } } }, /port 0 belongs to disk1/],
    ['a disk without a port', { disks: { a: { size: 1 } } }, /each disk but disk1 needs a port/],
    [
      'two disks at the port of the system',
      { disks: { disk1: {}, a: { port: 0, size: 1 } } },
      /same port twice/,
    ],
    ['a disk of no size', { disks: { a: { port: 1 } } }, /needs a size/],
    ['a relative shared folder', { sharedFolders: { a: { hostPath: 'x' } } }, /absolute path/],
    [
      'an adapter and a network',
      { hostOnly: { adapter: 'a', network: 'b' } },
      /either an adapter or a network/,
    ],
    ['neither', { hostOnly: {} }, /either an adapter or a network/],
    ['an unknown flag name', { extraFlags: { '--memory': '1' } }, /option of modifyvm/],
  ])('refuses %s', (_, config, why) => {
    expect(() => VirtualBoxConfig.parse(config)).toThrow(why)
  })

  it('gives the root disk the size of disk1, else that of its image at least', () => {
    const size = (config: object) => rootMiB(VirtualBoxConfig.parse(config), image)
    expect(size({})).toBe(10 * 1024)
    expect(size({ baseImageSize: 1 })).toBe(2048)
    expect(size({ disks: { disk1: { port: 0, size: 5000 } } })).toBe(5000)
  })
})

describe('the settings of a machine', () => {
  it('have ssh by NAT on loopback, the LAN apart, and the serial port in a file', () => {
    const { spec } = machine({ natForwards: [] })
    expect(spec.forwards).toEqual([{ host: 24_231, guest: 22 }])
    const args = settingsArgs(spec).join(' ')
    expect(args).toContain('--nic1 nat --nictype1 virtio --macaddress1 080027000001')
    expect(args).toContain('--nic2 none')
    expect(args).toContain('--nic3 intnet --intnet3 hydra-ops-0b7c3d1e-1111-4a2b-9c3d-000000000001')
    expect(args).toContain(serialArgs(spec).join(' '))
  })

  it('leave nested paging as VirtualBox has it, which is on, unless the user sets it', () => {
    const paging = (config: object) =>
      settingsArgs(machine(config).spec).filter((each) => /paging/.test(each))
    expect(paging({})).toEqual([])
    expect(paging({ vmFlags: ['--nested-paging', 'off'] })).toEqual(['--nested-paging'])
  })

  it('end with the flags of the user, which are stronger', () => {
    const { spec } = machine({
      vmFlags: ['--memory', '99'],
      extraFlags: { 'vm-execution-engine': 'recompiler' },
    })
    expect(settingsArgs(spec).slice(-4)).toEqual(['--memory', '99', '--vm-execution-engine', 'recompiler'])
  })

  it('hold no secret', () => {
    const identity = {
      hostName: 'web',
      hostKeyFile: '/nonexistent/key',
      hostKeyPublic: 'ssh-ed25519 PUBLIC',
      authorizedKey: 'ssh-ed25519 AUTHORIZED',
      identityFile: '/nonexistent/id',
    }
    const resource = plainResource({ image, identity })
    const spec = wantedSpec(resource, wantedHandle(placesOf(resource), resource))
    expect(JSON.stringify([settingsArgs(spec), spec])).not.toMatch(/ssh-ed25519|PRIVATE/)
  })

  it('have another digest after each change that cannot be read back', () => {
    const base = specDigest(machine({}).spec)
    for (const config of [
      { sharedFolders: { a: { hostPath: '/srv', readOnly: false } } },
      { vmFlags: ['--pae', 'on'] },
      { extraFlags: { pae: 'on' } },
      { hostOnly: { adapter: 'vboxnet0' } },
    ]) {
      expect(specDigest(machine(config).spec)).not.toBe(base)
    }
    expect(specDigest(machine({ natForwards: [{ host: 8080, guest: 80 }] }).spec)).toBe(base)
  })

  it('use a controller that the image has a driver for', () => {
    expect(machine({}).handle.controller).toBe('SATA')
    expect(machine({ diskController: 'virtio' }).handle.controller).toBe('VIRTIO')
  })

  it.each([
    ['which is the default', {}],
    ['by name', { baseImage: 'debian-12' }],
    ['by its name with a boot loader', { baseImage: 'debian-12-grub' }],
    ['as the image of disk1', { disks: { disk1: { port: 0, baseImage: 'debian-12' } } }],
  ])('name our image with a boot loader, %s', (_, config) => {
    expect(imageReference(VirtualBoxConfig.parse(config))).toBe('debian-12-grub')
  })

  it('are the image nixos for a NixOS machine, whose disk has a boot loader of its own', () => {
    expect(imageReference(VirtualBoxConfig.parse({}), 'nixos')).toBe('nixos')
    expect(imageReference(VirtualBoxConfig.parse({ baseImage: 'nixos' }), 'nixos')).toBe('nixos')
  })

  it('are refused for EFI with our image, and not with an image of the user', () => {
    const withFirmware = (config: object) => {
      const resource = plainResource({
        config: VirtualBoxConfig.parse({ firmware: 'efi', ...config }),
        image,
      })
      return wantedHandle(placesOf(resource), resource)
    }
    expect(() => withFirmware({})).toThrow(/image 'debian-12-grub' has a boot loader for a BIOS only/)
    const nixos = { baseImage: 'nixos' }
    expect(() => withFirmware(nixos)).toThrow(/image 'nixos' has a boot loader for a BIOS only/)
    expect(withFirmware({ baseImage: '/srv/cloud.qcow2' }).controller).toBe('SATA')
  })
})

describe('the places that the image writes', () => {
  const paths = (config: object) => ownedPlaces(VirtualBoxConfig.parse(config)).map(({ path }) => path)

  it('are those of the identity, which the seed disk brings to our image', () => {
    expect(paths({})).toContain('/etc/ssh/ssh_host_ed25519_key')
    expect(paths({ baseImage: 'debian-12-bare', baseImageIdentity: 'nocloud' })).toContain('/etc/hostname')
  })

  it('are unknown for other images, and for our image without an identity', () => {
    expect(paths({ baseImage: '/srv/cloud.qcow2' })).toEqual([])
    expect(paths({ baseImageIdentity: 'none' })).toEqual([])
  })
})

describe('an allocation', () => {
  const request = {
    deployment: plainResource().deployment.uuid,
    machine: plainResource().machine,
    index: 3,
    config: VirtualBoxConfig.parse({}),
    known: undefined,
    takenPorts: new Set<number>(),
    siblings: new Map(),
  }

  it('has three different addresses of VirtualBox’ own range, and one in the LAN', async () => {
    const { mac, hostOnlyMac, lanMac, lan } = await allocate(request)
    expect(new Set([mac, hostOnlyMac, lanMac]).size).toBe(3)
    for (const each of [mac, hostOnlyMac, lanMac]) expect(each).toMatch(/^08:00:27(:[0-9a-f]{2}){3}$/)
    expect(lan?.address).toMatch(/^10\.77\.\d+\.3$/)
  })

  it('has no LAN where none is wanted', async () => {
    expect((await allocate({ ...request, config: VirtualBoxConfig.parse({ lan: false }) })).lan).toBeNull()
  })

  it('gives a machine the same UUID on every day', () => {
    expect(machineUuid('hydra-ops-x-web')).toBe(machineUuid('hydra-ops-x-web'))
    expect(machineUuid('hydra-ops-x-web')).not.toBe(machineUuid('hydra-ops-x-db'))
  })
})
