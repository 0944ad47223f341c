import { join } from 'node:path'
import { z } from 'zod'
import { LibvirtConfig } from '../../providers/libvirt/config.js'
import { createLibvirtProvider } from '../../providers/libvirt/index.js'
import { bindProvider } from '../../src/core/bind-provider.js'
import type { BaseImage, ImageStore } from '../../src/core/image.js'
import { localCommands } from '../../src/exec/local-commands.js'
import type { FakeOps } from '../fakes/fake-ops.js'
import { imageStoreOf, openMachineOperator, type Verb, type Watching } from './machine-operator.js'

/** Folders, storage pool and port of one deployment. */
export const Place = z.object({
  /** The folder with the state and the files of the stand-ins. */
  folder: z.string(),
  /** The folder with the base images `empty.qcow2` and `other.qcow2`. */
  images: z.string(),
  /** A storage pool of the session, and the folder of its disks. */
  pool: z.string(),
  poolFolder: z.string(),
  /** The port on 127.0.0.1 that the verb `change` forwards to the guest. */
  port: z.number(),
})
export type Place = z.infer<typeof Place>

/**
 * Opens an operator with the real engine, store and libvirt provider. Stand-ins replace Nix, ssh and Debian. The
 * machine's disk has nothing to boot, so its firmware reports an error and waits.
 */
export async function openOperator(place: Place, verb: Verb, watching: Watching = {}): Promise<FakeOps> {
  const provider = bindProvider(createLibvirtProvider({ local: watching.local ?? localCommands }))
  return openMachineOperator(
    place.folder,
    { provider, targetEnv: 'libvirtd', options: optionsFor(place, verb), images: imagesIn(place.images) },
    watching,
  )
}

function optionsFor({ pool, port }: Place, verb: Verb): LibvirtConfig {
  const options = {
    baseImage: 'empty',
    baseImageSize: 1,
    memorySize: 64,
    storagePool: pool,
    extraDisks: { data: 1 },
    networks: [],
    outbound: false,
    // A fixed type avoids the check for KVM, which would start another QEMU.
    domainType: 'qemu',
  }
  const changed = {
    baseImageSize: 2,
    extraDisks: { data: 1, more: 1 },
    forwardPorts: [{ host: port, guest: 80 }],
    autostart: true,
  }
  if (verb === 'change') return LibvirtConfig.parse({ ...options, ...changed })
  return LibvirtConfig.parse(verb === 'recreate' ? { ...options, baseImage: 'other' } : options)
}

function imagesIn(folder: string): ImageStore {
  const imageOf = (reference: string): BaseImage => ({
    id: `${reference}-1`,
    reference,
    disk: join(folder, `${reference}.qcow2`),
    format: 'qcow2',
    virtualBytes: 16 * 1024 ** 2,
    identity: 'fwcfg',
  })
  return imageStoreOf(imageOf)
}
