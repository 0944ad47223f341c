import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { forwardChanges } from '../../../providers/common/ports.js'
import { parseDomainXml } from '../../../providers/libvirt/domain-facts.js'
import { type DomainSpec, specDigest } from '../../../providers/libvirt/domain-spec.js'
import { buildDomainXml } from '../../../providers/libvirt/domain-xml.js'
import { parseUsernet, replaceForwards } from '../../../providers/libvirt/network.js'
import { transcript } from './transcripts.js'

const spec: DomainSpec = {
  name: 'hydra-ops-u-web',
  uuid: '9ad8e919-f49d-8898-923f-6eed0563c4f8',
  deployment: '0b7c3d1e-1111-4a2b-9c3d-000000000001',
  machine: 'web',
  type: 'qemu',
  memoryMiB: 1024,
  vcpu: 2,
  kernel: '/images/kernel',
  initrd: '/images/initrd',
  cmdline: 'console=ttyS0 root=/dev/vda rw',
  credential: '/disks/web/identity.tmpfiles',
  identity: '0011223344556677',
  disks: [
    { dev: 'vda', path: '/disks/web/disk.qcow2', format: 'qcow2' },
    { dev: 'vdb', path: '/disks/web/data.qcow2', format: 'qcow2', serial: 'data' },
  ],
  mac: '52:54:00:aa:01:01',
  outbound: true,
  forwards: [
    { host: 24_231, guest: 22 },
    { host: 8080, guest: 80 },
  ],
  nics: [{ kind: 'lan', mac: '52:54:00:bb:01:01', group: '239.77.1.2', port: 11_000 }],
  console: '/console/web.log',
  headless: true,
  extraDevicesXML: '',
  extraDomainXML: '',
  base: undefined,
}

describe('a domain', () => {
  it('is read back as it was written', () => {
    expect(parseDomainXml(buildDomainXml(spec))).toEqual({
      name: spec.name,
      uuid: spec.uuid,
      type: 'qemu',
      memoryMiB: 1024,
      vcpu: 2,
      outbound: true,
      forwards: spec.forwards,
      nics: ['lan'],
      disks: new Map([
        ['vda', '/disks/web/disk.qcow2'],
        ['vdb', '/disks/web/data.qcow2'],
      ]),
      credential: spec.credential,
      console: '/console/web.log',
      mark: { deployment: spec.deployment, machine: 'web', spec: specDigest(spec) },
    })
  })

  it('is read from libvirt’s output, running or not; without our mark it is not ours', () => {
    for (const nth of [0, 1]) {
      const facts = parseDomainXml(transcript('dumpxml', 'dumpxml vm1', nth).result.stdout)
      expect(facts).toMatchObject({ name: 'vm1', memoryMiB: 1024, vcpu: 1, type: 'qemu', mark: undefined })
      expect(facts.disks.get('vda')).toBe('/srv/lab/imgs/vm1.qcow2')
    }
  })

  it('is not ours by a mark in another namespace', () => {
    const theirs = buildDomainXml(spec).replace('urn:hydra-ops:deployment:1', 'urn:somebody-else')
    expect(parseDomainXml(theirs).mark).toBeUndefined()
  })

  it('keeps every name and path with any characters', () => {
    const text = fc.string({ minLength: 1, unit: fc.constantFrom(...'a&<>"\'é ;$(){}%007e1#xltgmp') })
    fc.assert(
      fc.property(text, text, (path, machine) => {
        fc.pre(path.trim() === path && machine.trim() === machine)
        const odd = { ...spec, machine, disks: [{ dev: 'vda', path: `/${path}`, format: 'qcow2' as const }] }
        const facts = parseDomainXml(buildDomainXml(odd))
        expect(facts.disks.get('vda')).toBe(`/${path}`)
        expect(facts.mark?.machine).toBe(machine)
      }),
    )
  })

  it.each(['&#xE9;', '&#xe9;', '&#233;'])('is read with a character that is written as %s', (written) => {
    const disks = [{ dev: 'vda', path: '/srv/café/disk', format: 'qcow2' as const }]
    const text = buildDomainXml({ ...spec, disks, machine: 'café' }).replaceAll('é', written)
    expect(text).toContain(written)
    const { disks: read, mark } = parseDomainXml(text)
    expect([read.get('vda'), mark?.machine]).toEqual(['/srv/café/disk', 'café'])
  })

  it('reaches out only when outbound allows it', () => {
    expect(buildDomainXml(spec)).not.toContain('restrict=on')
    const closed = buildDomainXml({ ...spec, outbound: false })
    expect(closed).toContain('user,id=management,ipv6=off,restrict=on,hostfwd=tcp:127.0.0.1:24231-:22')
    expect(parseDomainXml(closed).outbound).toBe(false)
  })

  it('has its LAN bound to the loopback device', () => {
    expect(buildDomainXml(spec)).toContain('socket,id=lan0,mcast=239.77.1.2:11000,localaddr=127.0.0.1')
  })

  it('has networks of libvirt and bridges of the host as interfaces of a separate kind', () => {
    const xml = buildDomainXml({
      ...spec,
      nics: [
        { kind: 'network', mac: '52:54:00:00:00:01', source: 'default' },
        { kind: 'bridge', mac: '52:54:00:00:00:02', source: 'br0' },
      ],
    })
    expect(parseDomainXml(xml).nics).toEqual(['network default', 'bridge br0'])
  })

  it('holds no secret: its identity is a path', () => {
    expect(buildDomainXml(spec)).toContain('file="/disks/web/identity.tmpfiles"')
  })

  it('has a screen only when it is not headless', () => {
    expect(buildDomainXml(spec)).not.toContain('<graphics')
    expect(buildDomainXml({ ...spec, headless: false })).toContain('<graphics type="vnc"')
  })

  it('carries extra XML inside its devices and inside itself', () => {
    const xml = buildDomainXml({
      ...spec,
      extraDevicesXML: "<sound model='ich9'/>",
      extraDomainXML: '<iothreads>2</iothreads>',
    })
    expect(xml).toMatch(/<sound model='ich9'\/>\s*<\/devices>/)
    expect(xml).toMatch(/<iothreads>2<\/iothreads>\s*<\/domain>/)
  })

  it.each(['<open>', '</devices>', '<a></b>', '</extra><evil/><extra>', 'a & b < c'])(
    'refuses incomplete extra XML: %s',
    (extraDevicesXML) => {
      expect(() => buildDomainXml({ ...spec, extraDevicesXML })).toThrowError(
        expect.objectContaining({ exitCode: 2, message: expect.stringContaining('extraDevicesXML') }),
      )
    },
  )

  it('counts as changed for a running guest when anything but its ports changed', () => {
    const same = specDigest({ ...spec, forwards: [] })
    expect(specDigest(spec)).toBe(same)
    for (const change of [
      { memoryMiB: 2048 },
      { vcpu: 1 },
      { outbound: false },
      { identity: 'ff' },
      { nics: [] },
    ]) {
      expect(specDigest({ ...spec, ...change })).not.toBe(same)
    }
  })
})

describe('the list of forwarded ports', () => {
  it('is replaced in a definition that stays unchanged otherwise', () => {
    const xml = buildDomainXml({ ...spec, outbound: false })
    const moved = replaceForwards(xml, [{ host: 25_000, guest: 22 }])
    expect(parseDomainXml(moved)).toEqual({ ...parseDomainXml(xml), forwards: [{ host: 25_000, guest: 22 }] })
  })

  it('is replaced in each definition of a text that has several, as a snapshot has', () => {
    const xml = buildDomainXml(spec)
    const wanted = [{ host: 25_000, guest: 22 }]
    expect(replaceForwards(`${xml}${xml}`, wanted)).toBe(replaceForwards(xml, wanted).repeat(2))
  })

  it('is read from QEMU’s own list of open ports', () => {
    const text = [
      'Hub -1 (management):',
      '  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ',
      '  TCP[ESTABLISHED]   25      127.0.0.1 24231       10.0.2.15    22     0     0',
      '  TCP[HOST_FORWARD]  12      127.0.0.1 24231       10.0.2.15    22     0     0',
      '  TCP[HOST_FORWARD]  13      127.0.0.1  8080       10.0.2.15    80     0     0',
    ].join('\r\n')
    expect(parseUsernet(text)).toEqual(spec.forwards)
  })

  it('is opened and closed port by port', () => {
    const ssh = { host: 24_231, guest: 22 }
    expect(forwardChanges([ssh, { host: 8080, guest: 80 }], [ssh, { host: 8080, guest: 8080 }])).toEqual({
      removed: [{ host: 8080, guest: 80 }],
      added: [{ host: 8080, guest: 8080 }],
    })
    expect(forwardChanges([ssh], [ssh])).toEqual({ removed: [], added: [] })
  })
})
