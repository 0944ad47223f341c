import { describe, expect, it } from 'vitest'
import { type Guest, identityDigest, seedFiles, tmpfilesLines } from '../../../providers/common/identity.js'
import { LibvirtConfig } from '../../../providers/libvirt/config.js'
import { guestOf } from '../../../providers/libvirt/guest.js'
import type { LibvirtResource } from '../../../providers/libvirt/places.js'
import type { MachineIdentity } from '../../../src/core/provider.js'
import { plainResource } from './plain-resource.js'

const identity: MachineIdentity = {
  hostName: 'web',
  hostKeyFile: '/keys/web/ssh_host_ed25519_key',
  hostKeyPublic: 'ssh-ed25519 AAAAhost',
  authorizedKey: 'ssh-ed25519 AAAAlogin',
  identityFile: '/keys/id_ed25519',
}
const secret = 'planted private host key\n'

function guest(config: object = {}, overrides: Partial<LibvirtResource> = {}): Guest {
  return guestOf(plainResource({ config: LibvirtConfig.parse(config), identity, ...overrides }))
}

/** Returns the mode and text of each path. */
function credential(config: object = {}): Map<string, { mode: string; text: string }> {
  const lines = tmpfilesLines(guest(config), identity, secret).trimEnd().split('\n')
  return new Map(
    lines.map((line) => {
      const [kind, path = '', mode = '', user, group, age, data = ''] = line.split(' ')
      expect([kind, user, group, age]).toEqual(['f+~', 'root', 'root', '-'])
      return [path, { mode, text: Buffer.from(data, 'base64').toString('utf8') }]
    }),
  )
}

describe('the credential of an image of ours', () => {
  it('brings the name, the host key and the key that may log in', () => {
    const files = credential()
    expect(files.get('/etc/hostname')?.text).toBe('web\n')
    expect(files.get('/etc/ssh/ssh_host_ed25519_key')).toEqual({ mode: '0600', text: secret })
    expect(files.get('/etc/ssh/ssh_host_ed25519_key.pub')?.text).toBe('ssh-ed25519 AAAAhost\n')
    expect(files.get('/etc/ssh/authorized_keys.d/root')?.text).toBe('ssh-ed25519 AAAAlogin\n')
  })

  it('leaves alone the files of the machine’s owner: root’s own authorized_keys and /etc/hosts', () => {
    const paths = [...credential().keys()]
    expect(paths.filter((path) => path.startsWith('/root') || path === '/etc/hosts')).toEqual([])
  })

  it('gives each interface its address by MAC', () => {
    const files = credential({ networks: ['lan', { bridge: 'br0' }] })
    const network = (name: string) => files.get(`/etc/systemd/network/10-hydra-ops-${name}.network`)?.text
    expect(network('management')).toContain('MACAddress=52:54:00:00:00:01\n[Network]\nAddress=10.0.2.15/24')
    expect(network('management')).toContain('Gateway=10.0.2.2')
    expect(network('nic0')).toContain('Address=10.77.5.1/24')
    expect(network('nic0')).not.toContain('Gateway')
    expect(network('nic1')).toContain('DHCP=yes')
  })

  it('knows neither a gateway nor a name server when the guest may not reach out', () => {
    const closed = credential({ outbound: false })
    const open = credential()
    expect(closed.get('/etc/systemd/network/10-hydra-ops-management.network')?.text).not.toContain('Gateway')
    expect(closed.get('/etc/resolv.conf')?.text).not.toContain('nameserver')
    expect(open.get('/etc/resolv.conf')?.text).toBe('nameserver 10.0.2.3\n')
  })
})

describe('the seed of an image', () => {
  const files = seedFiles(guest(), identity, secret)
  const userData: unknown = JSON.parse(files['user-data'].replace('#cloud-config\n', ''))

  it('brings the same content in the form of cloud-init', () => {
    expect(files['user-data'].startsWith('#cloud-config\n')).toBe(true)
    expect(userData).toMatchObject({
      hostname: 'web',
      ssh_pwauth: false,
      disable_root: false,
      ssh_keys: { ed25519_private: secret, ed25519_public: 'ssh-ed25519 AAAAhost' },
      users: ['default', { name: 'root', ssh_authorized_keys: ['ssh-ed25519 AAAAlogin'] }],
    })
    expect(JSON.parse(files['network-config'])).toMatchObject({
      version: 2,
      ethernets: {
        management: { match: { macaddress: '52:54:00:00:00:01' }, addresses: ['10.0.2.15/24'] },
        nic0: { addresses: ['10.77.5.1/24'] },
      },
    })
  })

  it('brings an image of ours, which has no cloud-init, the same lines as a credential', () => {
    expect(files['hydra-ops.tmpfiles']).toBe(tmpfilesLines(guest(), identity, secret))
  })

  it('is another instance to cloud-init when any part of it changed', () => {
    const other = seedFiles(guest({ outbound: false }), identity, secret)
    expect(other['meta-data']).not.toBe(files['meta-data'])
  })
})

it('the record of an identity reveals nothing of the private key', () => {
  const digest = identityDigest(guest(), 'fwcfg')
  expect(digest).toBe(identityDigest(guest(), 'fwcfg'))
  const named = guest({}, { identity: { ...identity, hostName: 'db' } })
  expect(identityDigest(named, 'fwcfg')).not.toBe(digest)
  expect(identityDigest(guest(), 'nocloud')).not.toBe(digest)
})
