import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { LocalCommands } from '../core/context.js'
import { type NixosContent, nixosImage } from '../core/image.js'
import type { Run } from '../core/run.js'
import { targetFile, valueLine } from '../core/target-file.js'
import { requireSpace } from './folder.js'
import { type ImageBuild, imageCommand } from './image-command.js'
import type { NewImage } from './place-image.js'

export interface NixosBuild {
  readonly local: Pick<LocalCommands, 'run'>
  readonly content: NixosContent
  /** An empty folder of hydra-ops for the files of the image. */
  readonly folder: string
  /** Whether this process is root and needs no user namespace. */
  readonly root: boolean
}

/** The deadline of one command, long enough to create the disk of a large system on a slow host. */
const packMs = 20 * 60_000

const gibibyte = 1024 ** 3

/** Builds the image `nixos`, a disk with GRUB that takes its identity from a seed disk. */
export async function buildNixos({ local, content, folder, root }: NixosBuild, run: Run): Promise<NewImage> {
  const { id, bytes, paths, registration, storeFolder } = content
  const virtualBytes = sizeOfDisk(bytes)
  const needed = 3 * bytes + gibibyte / 2
  requireSpace(folder, needed, `build image ${nixosImage}`)
  const build: ImageBuild = {
    ...{ local, folder, name: nixosImage, space: `${Math.ceil((10 * needed) / gibibyte) / 10} GiB` },
    hint: 'hydra-ops doctor lists missing programs; an ordinary user needs user namespaces (unshare --map-root-user)',
  }
  const work = join(folder, 'work')
  mkdirSync(work)
  writeFileSync(join(work, 'paths'), paths.map((path) => `${path}\n`).join(''))
  writeFileSync(join(work, 'registration'), registration)
  const values = { size: virtualBytes, loader: 'nixos', label: 'nixos', cmdline: '', store: storeFolder }
  const script = Object.entries(values).map(valueLine).join('') + targetFile('pack-image.sh')
  run.log('creating the file system')
  await imageCommand(
    build,
    [...(root ? [] : ['unshare', '--map-root-user']), 'sh', '-euc', script],
    { timeoutMs: packMs, cwd: work },
    run,
  )
  run.log('converting to qcow2')
  const convert = ['qemu-img', 'convert', '-O', 'qcow2', 'work/disk.raw', 'disk.qcow2']
  await imageCommand(build, convert, { timeoutMs: packMs }, run)
  rmSync(work, { recursive: true })
  chmodSync(join(folder, 'disk.qcow2'), 0o444)
  return { id, disk: 'disk.qcow2', format: 'qcow2', virtualBytes, identity: 'nocloud', recipe: id }
}

/** Chooses the size of a disk: the first boot needs room before it grows the disk. */
export function sizeOfDisk(bytes: number): number {
  const mebibyte = 1024 ** 2
  return Math.ceil((1.5 * bytes + gibibyte) / mebibyte) * mebibyte
}
