import { describe, expect, it } from 'vitest'
import type { DomainFacts } from '../../../providers/libvirt/domain-facts.js'
import { movedXml, placedFacts } from '../../../providers/libvirt/moved.js'
import { plainResource } from './plain-resource.js'

const uuid = plainResource().deployment.uuid
function domainWith(given: Partial<DomainFacts>): DomainFacts {
  return {
    name: 'hydra-ops-web',
    uuid: '9ad8e919-f49d-8898-923f-6eed0563c4f8',
    type: 'qemu',
    memoryMiB: 64,
    vcpu: 1,
    outbound: true,
    forwards: [],
    nics: [],
    disks: new Map(),
    credential: undefined,
    console: undefined,
    mark: undefined,
    ...given,
  }
}

const resource = plainResource({ disks: `/new/deployments/${uuid}/disks/web` })

describe('a description of a domain that was moved', () => {
  const move = { from: "/srv/o'ps & <co>", to: '/mnt/"new" & last' }

  it('moves every path from the old folder to the new folder, escaped for XML', () => {
    const old = '/srv/o&apos;ps &amp; &lt;co&gt;'
    expect(movedXml(`<source file='${old}/disks/a'/><kernel>${old}/images/k</kernel>`, move)).toBe(
      "<source file='/mnt/&quot;new&quot; &amp; last/disks/a'/><kernel>/mnt/&quot;new&quot; &amp; last/images/k</kernel>",
    )
  })

  it.each(['caf&#xE9;', 'caf&#xe9;', 'caf&#233;', 'café'])(
    'moves a path with characters in any form of XML: %s',
    (name) => {
      const accented = { from: '/srv/café', to: '/mnt/é' }
      expect(movedXml(`<source file='/srv/${name}/disks/a&#x26;b'/>`, accented)).toBe(
        "<source file='/mnt/é/disks/a&amp;b'/>",
      )
    },
  )

  it('reads each character once, and keeps a line feed from being read as a space', () => {
    const odd = { from: '/srv/&lt;', to: '/mnt/&#65;\n' }
    expect(movedXml("<source file='/srv/&amp;lt;/a'/>", odd)).toBe("<source file='/mnt/&amp;#65;&#10;/a'/>")
  })

  it.each([
    "<source file='/srv/other/disks/a'/>",
    "<source file='/srv/o&apos;ps &amp; &lt;co&gt;2/disks/a'/>",
    "<title>see /srv/o'ps</title>",
    '<name>a &amp; b</name><empty/>',
    '<name>&#x110000; &unknown;</name>',
  ])('keeps paths outside the old folder: %s', (xml) => {
    expect(movedXml(xml, move)).toBe(xml)
  })
})

describe('the files that a domain names', () => {
  const facts = domainWith({
    console: `/old/deployments/${uuid}/console/web.log`,
    credential: `/old/deployments/${uuid}/disks/web/identity.tmpfiles`,
    disks: new Map([
      ['vda', `/old/deployments/${uuid}/disks/web/a.qcow2`],
      ['vdb', '/pool/b.qcow2'],
    ]),
  })

  it('are those at the current place of the state folder; files elsewhere stay', () => {
    expect(placedFacts(facts, resource)).toMatchObject({
      move: { from: '/old', to: '/new' },
      credential: `/new/deployments/${uuid}/disks/web/identity.tmpfiles`,
      disks: new Map([
        ['vda', `/new/deployments/${uuid}/disks/web/a.qcow2`],
        ['vdb', '/pool/b.qcow2'],
      ]),
    })
  })

  it('reveal the move by the log of the console when every disk lies in a storage pool', () => {
    const pooled = domainWith({ console: facts.console, disks: new Map([['vda', '/pool/a.qcow2']]) })
    expect(placedFacts(pooled, resource).move).toEqual({ from: '/old', to: '/new' })
  })

  it('reveal no move when they belong to another deployment', () => {
    const other = domainWith({
      console: '/old/deployments/0b7c3d1e-2222-4a2b-9c3d-000000000001/console/web.log',
    })
    expect(placedFacts(other, resource).move).toBeUndefined()
    expect(
      placedFacts(facts, plainResource({ disks: `/old/deployments/${uuid}/disks/web` })).move,
    ).toBeUndefined()
  })
})
