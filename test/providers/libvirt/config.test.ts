import { describe, expect, it } from 'vitest'
import { imageReference, LibvirtConfig, ownedPlaces } from '../../../providers/libvirt/config.js'
import { OpsError } from '../../../src/core/errors.js'

describe('deployment.libvirtd', () => {
  it('needs no option', () => {
    expect(LibvirtConfig.parse({})).toMatchObject({
      URI: null,
      vcpu: 1,
      memorySize: 1024,
      baseImageSize: 10,
      networks: ['lan'],
      outbound: true,
      domainType: 'auto',
    })
  })

  it('accepts the values of NixOps users: "" means not given, a string is a network of libvirt', () => {
    const config = LibvirtConfig.parse({ kernel: '', initrd: '', cmdline: '', networks: ['default', 'lan'] })
    expect(config).toMatchObject({ kernel: null, initrd: null, cmdline: null, networks: ['default', 'lan'] })
  })

  it.each([
    [{ memorySize: '4G' }],
    [{ vcpu: 0 }],
    [{ baseImageSize: 1.5 }],
    [{ URI: 'qemu+ssh://root@elsewhere/system' }],
    [{ networks: ['lan', 'lan'] }],
    [{ networks: [{ vlan: 3 }] }],
    [{ forwardPorts: [{ host: 80_000, guest: 80 }] }],
    [
      {
        forwardPorts: [
          { host: 8080, guest: 80 },
          { host: 8080, guest: 81 },
        ],
      },
    ],
    [{ extraDisks: { '../x': 1 } }],
    [{ baseImageSha256: 'sha256-abc' }],
    [{ domainType: 'xen' }],
  ])('refuses %j', (value) => {
    expect(LibvirtConfig.safeParse(value).success).toBe(false)
  })

  it('names an image from the network by its URL and its SHA-256', () => {
    const sha = 'ab'.repeat(32)
    const url = 'https://images.example/x.qcow2'
    expect(imageReference(LibvirtConfig.parse({}))).toBe('debian-12')
    expect(imageReference(LibvirtConfig.parse({}), 'nixos')).toBe('nixos')
    expect(imageReference(LibvirtConfig.parse({ baseImage: '/x.qcow2' }))).toBe('/x.qcow2')
    expect(imageReference(LibvirtConfig.parse({ baseImage: url, baseImageSha256: sha }))).toBe(
      `${url}#sha256=${sha}`,
    )
  })
})

describe('an image at a URL without its SHA-256', () => {
  const hintFor = (baseImage: string) => {
    try {
      return imageReference(LibvirtConfig.parse({ baseImage }))
    } catch (error) {
      return error instanceof OpsError ? `${error.exitCode} ${error.hint}` : error
    }
  }

  it('is refused with the name of the option', () => {
    expect(hintFor('https://images.example/x.qcow2')).toBe(
      '2 set deployment.libvirtd.baseImageSha256 = "64 hexadecimal digits"',
    )
  })

  it('is taken when the URL itself ends in the SHA-256', () => {
    const url = `https://images.example/x.qcow2#sha256=${'ab'.repeat(32)}`
    expect(hintFor(url)).toBe(url)
  })
})

describe('the advice against a path that the image writes', () => {
  const insteadOf = (path: string) =>
    ownedPlaces(LibvirtConfig.parse({})).find((place) => place.path === path)?.instead

  it('names the place to set a name server, and not the option that only cuts the guest off', () => {
    expect(insteadOf('/etc/resolv.conf')).not.toContain('outbound')
    expect(insteadOf('/etc/resolv.conf')).toContain('the operator host')
  })

  it.each(['fwcfg', 'nocloud', null])(
    'is the same when %s brings the identity to our image',
    (baseImageIdentity) => {
      for (const baseImage of ['debian-12', 'debian-12-bare', 'debian-12-grub']) {
        const config = LibvirtConfig.parse({ baseImage, baseImageIdentity })
        expect(ownedPlaces(config)).toEqual(ownedPlaces(LibvirtConfig.parse({})))
      }
    },
  )

  it('is not given for a seed that the image of somebody else reads', () => {
    const config = { baseImage: '/srv/cloud.qcow2', baseImageIdentity: 'nocloud' }
    expect(ownedPlaces(LibvirtConfig.parse(config))).toEqual([])
  })

  it.each(['', '.pub'])('names a file that may be placed, for ssh_host_ed25519_key%s', (suffix) => {
    const instead = insteadOf(`/etc/ssh/ssh_host_ed25519_key${suffix}`)
    expect(instead).toContain(`/etc/ssh/ssh_host_rsa_key${suffix}`)
    expect(insteadOf(`/etc/ssh/ssh_host_rsa_key${suffix}`)).toBeUndefined()
  })
})
