import { describe, expect, it } from 'vitest'
import { parseSnapshotXml } from '../../../providers/libvirt/snapshot-facts.js'
import { readFailure } from '../../../providers/libvirt/virsh.js'

const domain = `
  <domain type='qemu'>
    <name>web</name><uuid>5b1f0f3a-1111-8222-8333-444455556666</uuid>
    <memory unit='KiB'>65536</memory><vcpu placement='static'>2</vcpu>
    <devices>
      <disk type='file' device='disk'><source file='/disks/web.qcow2'/><target dev='vda' bus='virtio'/></disk>
    </devices>
  </domain>`

const snapshot = (parts: string) =>
  `<domainsnapshot><name>before &amp; after</name><creationTime>1795895385</creationTime>${parts}${domain}
  <inactiveDomain type='qemu'><name>web</name></inactiveDomain><cookie/></domainsnapshot>`

describe('the description of a snapshot', () => {
  it('has its time, its memory and the disks whose state lies in their own file', () => {
    const text = snapshot(`<description>a &lt;b&gt; 007</description><state>running</state>
      <memory snapshot='internal'/>
      <disks><disk name='vda' snapshot='internal'/><disk name='vdb' snapshot='no'/></disks>`)
    expect(parseSnapshotXml(text)).toMatchObject({
      name: 'before & after',
      at: '2026-11-28T19:49:45.000Z',
      description: 'a <b> 007',
      memory: true,
      devices: ['vda'],
      external: false,
      domain: { memoryMiB: 64, vcpu: 2, disks: new Map([['vda', '/disks/web.qcow2']]) },
    })
  })

  it('may have neither memory, nor disks, nor a text', () => {
    for (const parts of ['', "<description/><memory snapshot='no'/><disks/>"]) {
      expect(parseSnapshotXml(snapshot(parts))).toMatchObject({
        memory: false,
        description: undefined,
        devices: [],
        external: false,
      })
    }
  })

  it.each([
    "<memory snapshot='external' file='/m'/>",
    "<disks><disk name='vda' snapshot='external'/></disks>",
  ])('reports that something of it lies beside the disks: %s', (parts) => {
    expect(parseSnapshotXml(snapshot(parts))).toMatchObject({ external: true, devices: [] })
  })

  it('is an error of libvirt when it cannot be understood', () => {
    for (const text of ['', '<domain/>', '<domainsnapshot><name>x</name></domainsnapshot>'])
      expect(() => parseSnapshotXml(text)).toThrow(/cannot parse libvirt's description of a snapshot/)
  })
})

it.each([
  ["error: Domain snapshot not found: no domain snapshot with matching name 'x'", 'no-snapshot'],
  ['error: operation failed: domain moment before already exists', 'snapshot-exists'],
  ["error: failed to get domain 'nope'", 'no-domain'],
])('libvirt says: %s', (stderr, complaint) => {
  expect(readFailure({ kind: 'exited', code: 1, stdout: '', stderr })).toMatchObject({ complaint })
})
