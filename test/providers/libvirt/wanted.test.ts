import { expect, it } from 'vitest'
import { LibvirtConfig, type LibvirtHandle } from '../../../providers/libvirt/config.js'
import { buildDomainXml } from '../../../providers/libvirt/domain-xml.js'
import { placesOf } from '../../../providers/libvirt/places.js'
import { wantedSpec } from '../../../providers/libvirt/wanted.js'
import { plainResource } from './plain-resource.js'

const parts = {
  local: { run: () => Promise.reject(new Error('no program runs here')) },
  uid: 1000,
  kvm: async () => ({ works: true as const }),
  systemRoot: '/nonexistent/system',
  interfaces: '/nonexistent/net',
}
const run = { signal: new AbortController().signal, log: () => {} }
const handle: LibvirtHandle = {
  uri: 'qemu:///session',
  uuid: 'b7c3d1e0-1111-4a2b-9c3d-000000000001',
  folder: '/nonexistent/disks/web',
  disk: '/nonexistent/disks/web/web.qcow2',
  extraDisks: {},
  image: {
    id: 'empty-1',
    reference: 'empty',
    disk: '/nonexistent/images/empty.qcow2',
    format: 'qcow2',
    virtualBytes: 1,
    identity: 'fwcfg',
  },
}

it('a domain gives each interface its own allocated address, also two interfaces of one network', async () => {
  const config = LibvirtConfig.parse({ networks: ['default', 'lan', 'default'] })
  const [first, second, third] = ['52:54:00:00:00:02', '52:54:00:00:00:03', '52:54:00:00:00:04'] as const
  const known = plainResource().allocation
  const resource = plainResource({ config, handle, allocation: { ...known, nics: [first, second, third] } })
  const xml = buildDomainXml(await wantedSpec(parts, placesOf(parts, resource), resource, handle, run))
  const found = (pattern: RegExp) => [...xml.matchAll(pattern)].map(([, ...groups]) => groups.join(' '))
  expect(found(/<mac address="(.*?)"\/>\s*<source network="(.*?)"\/>/g)).toEqual([
    `${first} default`,
    `${third} default`,
  ])
  expect(found(/netdev=(\w+),mac=(.*?),/g)).toEqual([`management ${known.mac}`, `lan0 ${second}`])
  expect(found(/(52:54:[0-9a-f:]+)/g)).toHaveLength(4)
})
