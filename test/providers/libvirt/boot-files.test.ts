import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { requireBootFiles } from '../../../providers/libvirt/boot-files.js'
import { LibvirtConfig, type LibvirtHandle } from '../../../providers/libvirt/config.js'
import { type LibvirtResource, placesOf } from '../../../providers/libvirt/places.js'
import type { BaseImage } from '../../../src/core/image.js'
import { plainResource } from './plain-resource.js'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hydra-ops-boot-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

const again = 'hydra-ops deploy restores the file'

/** Creates a machine of the system's libvirt with all its files; each file is removable. */
function machine(stored: boolean, config: object = {}, uri = 'qemu:///system') {
  const file = (name: string) => {
    const path = join(folder, name)
    writeFileSync(path, '')
    return path
  }
  const image: BaseImage = {
    id: 'debian-12-1',
    reference: 'debian-12',
    disk: file('disk.qcow2'),
    kernel: file('kernel'),
    initrd: file('initrd'),
    format: 'qcow2',
    virtualBytes: 1,
    identity: 'fwcfg',
  }
  const handle: LibvirtHandle = {
    uri,
    uuid: 'b7c3d1e0-1111-4a2b-9c3d-000000000001',
    folder: join(folder, 'web'),
    disk: file('web.qcow2'),
    extraDisks: {},
    image,
  }
  const resource: LibvirtResource = plainResource({
    config: LibvirtConfig.parse(config),
    handle,
    image: stored ? image : undefined,
  })
  const places = placesOf(
    {
      local: { run: () => Promise.reject(new Error('no program runs here')) },
      uid: 0,
      kvm: async () => ({ works: true }),
      systemRoot: folder,
      interfaces: '/sys/class/net',
    },
    resource,
  )
  mkdirSync(places.folder)
  for (const path of [places.credential, places.seed]) writeFileSync(path, '')
  const disks = new Map([
    ['vda', handle.disk],
    ['vdb', places.seed],
  ])
  return {
    image,
    places,
    start: () => requireBootFiles(places, resource, { disks, credential: places.credential }),
  }
}

describe('a start on the system’s libvirt', () => {
  it('reports nothing when all files exist', () => {
    expect(machine(true).start).not.toThrow()
  })

  it.each(['disk', 'kernel', 'initrd'] as const)(
    'reports that a deploy restores the %s of the image',
    (part) => {
      const { image, start } = machine(true)
      rmSync(image[part] ?? '')
      expect(start).toThrow(expect.objectContaining({ code: 'NO_BACKING_FILE', hint: again }))
    },
  )

  it.each([
    ['disk', /restore the (?:image|file) from a copy.*--allow-recreate/],
    ['kernel', /restore the (?:image|file) from a copy.*deployment\.libvirtd\.kernel/],
    ['initrd', /restore the (?:image|file) from a copy.*deployment\.libvirtd\.initrd/],
  ] as const)('promises nothing of the %s when the store has lost the image too', (part, hint) => {
    const { image, start } = machine(false)
    rmSync(image[part] ?? '')
    expect(start).toThrow(expect.objectContaining({ hint: expect.stringMatching(hint) }))
  })

  it.each(['kernel', 'initrd'] as const)('promises nothing of a %s that the expression names', (part) => {
    const named = join(folder, 'named')
    const { start } = machine(true, { [part]: named })
    expect(start).toThrow(
      expect.objectContaining({
        message: `machine 'web': the ${part} ${named} is gone`,
        hint: expect.stringContaining(`deployment.libvirtd.${part}`),
      }),
    )
  })

  it.each(['credential', 'seed'] as const)('names the missing %s', (which) => {
    const { places, start } = machine(true)
    rmSync(places[which])
    expect(start).toThrow(
      expect.objectContaining({
        code: 'NO_IDENTITY',
        message: `machine 'web': the identity file ${places[which]} is gone`,
      }),
    )
  })
})

it('a start in a session does not promise an image that only a deploy to the system restores', () => {
  const { image, start } = machine(true, {}, 'qemu:///session')
  rmSync(image.disk)
  expect(start).toThrow(expect.objectContaining({ hint: expect.stringContaining('--allow-recreate') }))
})
