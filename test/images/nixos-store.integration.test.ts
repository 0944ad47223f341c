import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { BaseImage, ImageStore, NixosContent } from '../../src/core/image.js'
import { localCommands } from '../../src/exec/local-commands.js'
import { createImageStore } from '../../src/images/store.js'

const partition = 2048 * 512
const run = { signal: new AbortController().signal, log: () => {} }

let folder: string
let root: string
let store: ImageStore
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hydra-ops-nixos-'))
  root = join(folder, 'images')
  store = createImageStore({ root, local: localCommands })
})
afterEach(() => {
  execFileSync('chmod', ['-R', 'u+w', '--', folder])
  rmSync(folder, { recursive: true })
})

/** Creates a store with a system and the parts of its boot loader, read-only as Nix leaves them. */
function content(id: string, coreBytes = 30_000): NixosContent {
  const storeFolder = join(folder, 'store')
  const system = join(storeFolder, 'aaaa-system')
  const parts = join(storeFolder, 'bbbb-parts')
  for (const each of [system, parts]) mkdirSync(each, { recursive: true })
  writeFileSync(join(system, 'init'), '#!/bin/sh\n', { mode: 0o755 })
  writeFileSync(join(parts, 'grub.cfg'), 'linux /nix/store/aaaa-system/kernel\n')
  writeFileSync(join(parts, 'core.img'), Buffer.alloc(coreBytes, 7))
  writeFileSync(join(parts, 'boot.img'), Buffer.alloc(512, 3))
  for (const each of [system, parts]) chmodSync(each, 0o555)
  const paths = ['aaaa-system', 'bbbb-parts']
  return { id, storeFolder, paths, bytes: 50_000, registration: '/nix/store/aaaa-system\n' }
}

const ensure = (id: string) => store.ensure('nixos', run, { nixos: { id, content: async () => content(id) } })

function rawDisk({ disk }: BaseImage): string {
  const raw = join(folder, 'raw')
  execFileSync('qemu-img', ['convert', '-O', 'raw', disk, raw])
  return raw
}

/** Runs a debugfs command on the root file system. */
const inside = (raw: string, question: string) =>
  execFileSync('/sbin/debugfs', ['-R', question, `${raw}?offset=${partition}`], {
    encoding: 'utf8',
    stdio: 'pipe',
  })

const stored = () => readdirSync(root).filter((name) => name !== '.lock')

describe('the image nixos', () => {
  it('is a disk with a boot loader and a root labelled nixos, which has the store and its registration', async () => {
    const image = await ensure('nixos-abc')
    expect(image).toMatchObject({ reference: 'nixos', id: 'nixos-abc', format: 'qcow2', identity: 'nocloud' })
    expect(image.kernel).toBeUndefined()
    const raw = rawDisk(image)
    const disk = execFileSync('head', ['-c', '31000', raw])
    expect([...disk.subarray(0, 4)]).toEqual([3, 3, 3, 3])
    expect([...disk.subarray(510, 516)]).toEqual([0x55, 0xaa, 7, 7, 7, 7])
    // The partition table has one bootable Linux partition, from sector 2048 to the end of the disk.
    const [flag, type] = [disk[446], disk[450]]
    expect({
      flag,
      type,
      start: disk.readUInt32LE(454),
      end: disk.readUInt32LE(454) + disk.readUInt32LE(458),
    }).toEqual({
      ...{ flag: 0x80, type: 0x83, start: 2048 },
      end: image.virtualBytes / 512,
    })
    const label = ['-p', '-O', String(partition), '-s', 'LABEL', '-o', 'value', raw]
    expect(execFileSync('/sbin/blkid', label, { encoding: 'utf8' }).trim()).toBe('nixos')
    expect(inside(raw, 'cat /boot/grub/grub.cfg')).toBe('linux /nix/store/aaaa-system/kernel\n')
    expect(inside(raw, 'cat /nix-path-registration')).toBe('/nix/store/aaaa-system\n')
    const init = inside(raw, 'stat /nix/store/aaaa-system/init')
    expect(init).toMatch(/Mode: +0755/)
    expect(init).toMatch(/User: +0 +Group: +0/)
    expect(inside(raw, 'stat /tmp')).toMatch(/Mode: +01777/)
  })

  it('is found by the parts that it was made from, made once, and never confused with another', async () => {
    const first = await ensure('nixos-abc')
    expect(await ensure('nixos-abc')).toEqual(first)
    expect(await store.find('nixos', undefined, 'nixos-abc')).toMatchObject({ id: 'nixos-abc' })
    expect(await store.find('nixos', 'nixos-abc')).toMatchObject({ id: 'nixos-abc' })
    expect(await store.find('nixos', undefined, 'nixos-def')).toBeUndefined()
    expect(await store.find('nixos')).toBeUndefined()
  })

  it('is made again under another id if it lost its disk, which disks of machines may build on', async () => {
    const { disk } = await ensure('nixos-abc')
    rmSync(disk)
    const again = await ensure('nixos-abc')
    expect(again).toMatchObject({ id: 'nixos-abc-2', reference: 'nixos' })
    expect(await store.find('nixos', undefined, 'nixos-abc')).toMatchObject({ id: 'nixos-abc-2' })
    expect(await store.find('nixos', 'nixos-abc')).toBeUndefined()
  })

  it('leaves nothing behind if a path is missing, and says which command failed', async () => {
    const broken = { ...content('nixos-abc'), paths: ['aaaa-system', 'cccc-gone', 'bbbb-parts'] }
    const failing = store.ensure('nixos', run, { nixos: { id: broken.id, content: async () => broken } })
    await expect(failing).rejects.toMatchObject({
      code: 'IMAGE_BUILD',
      message: expect.stringMatching(/^cannot build image nixos: '(?:sh|unshare)' ended with status 1$/),
      detail: expect.stringContaining('cccc-gone'),
      hint: expect.stringContaining('hydra-ops doctor'),
    })
    expect(stored()).toEqual([])
  })

  it('is refused if the boot loader does not fit before the partition', async () => {
    const large = content('nixos-abc', 1_100_000)
    const failing = store.ensure('nixos', run, { nixos: { id: large.id, content: async () => large } })
    await expect(failing).rejects.toMatchObject({ code: 'IMAGE_BUILD' })
    expect(stored()).toEqual([])
  })

  it('sweeps the read-only leftovers of a build that was killed', async () => {
    const left = join(root, '.building-1', 'work', 'tree', 'nix', 'store', 'aaaa-system')
    mkdirSync(left, { recursive: true })
    writeFileSync(join(left, 'init'), '')
    chmodSync(left, 0o555)
    await ensure('nixos-abc')
    expect(existsSync(join(root, '.building-1'))).toBe(false)
    expect(stored()).toEqual(['nixos-abc'])
  })

  it('is not made by its name alone, which tells no nixpkgs', async () => {
    await expect(store.ensure('nixos', run)).rejects.toMatchObject({
      message: "image 'nixos' comes from the nixpkgs of a NixOS machine",
      hint: 'hydra-ops image build nixos -d NAME',
      exitCode: 2,
    })
  })
})
