import { usageError } from '../../src/core/errors.js'
import { type BaseImage, isOwnImage } from '../../src/core/image.js'
import { identityDigest } from '../common/identity.js'
import { imageChange, placedImage, type Recreation, requireImage } from '../common/image.js'
import { forwardsOf } from '../common/ports.js'
import {
  type ControllerName,
  dataDisks,
  imageReference,
  portOfRoot,
  rootName,
  type VirtualBoxHandle,
} from './config.js'
import { extraDiskPath, rootDiskPath } from './disks.js'
import { guestOf, identityMethod } from './guest.js'
import { type MachineNic, type MachineSpec, seedPort } from './machine-spec.js'
import { lanName, machineUuid } from './names.js'
import { type Places, placesOf, type VirtualBoxResource } from './places.js'

/** Returns the reason why a machine must be recreated; undefined where changes suffice. */
export function reasonToRecreate({ handle, config, os }: VirtualBoxResource): Recreation | undefined {
  if (handle === undefined) return undefined
  const otherImage = imageChange(handle.image, imageReference(config, os))
  if (otherImage !== undefined) return otherImage
  const { diskController } = config
  const wanted = diskController === null ? handle.controller : controllerOf(diskController)
  return wanted === handle.controller
    ? undefined
    : { detail: `disk controller ${handle.controller} → ${wanted}` }
}

/**
 * Describes the current or future machine. An existing machine keeps its original image, its controller and every
 * disk.
 */
export function wantedHandle(places: Places, resource: VirtualBoxResource): VirtualBoxHandle {
  const { handle: known, config } = resource
  const image = known?.image ?? imageFor(resource)
  return {
    uuid: machineUuid(resource.name),
    folder: places.folder,
    disk: known?.disk ?? rootDiskPath(places),
    extraDisks: {
      ...Object.fromEntries(dataDisks(config).map(([name]) => [name, extraDiskPath(places, name)])),
      ...known?.extraDisks,
    },
    controller: known?.controller ?? controllerOf(config.diskController ?? 'sata'),
    image,
  }
}

/** Returns the image for a new machine. */
export function imageFor(resource: VirtualBoxResource): BaseImage {
  refuseFirmware(resource)
  return placedImage(requireImage(resource, imageReference(resource.config, resource.os)))
}

/** Refuses an EFI machine with an image of hydra-ops's own, which has only a BIOS boot loader. */
export function refuseFirmware({ config, machine, os }: VirtualBoxResource): void {
  const image = imageReference(config, os)
  if (config.firmware === 'bios' || !isOwnImage(image)) return
  throw usageError(`machine '${machine}': image '${image}' has a boot loader for a BIOS only`, {
    machine,
    hint: 'set deployment.virtualbox.firmware = "bios", or choose a baseImage that boots with EFI',
  })
}

function controllerOf(kind: 'sata' | 'virtio'): ControllerName {
  return kind === 'sata' ? 'SATA' : 'VIRTIO'
}

/** Describes the wanted machine. */
export function wantedSpec(resource: VirtualBoxResource, handle: VirtualBoxHandle): MachineSpec {
  const { config, allocation } = resource
  const method = identityMethod(resource, handle.image)
  const seed = { port: seedPort, path: placesOf({ ...resource, handle }).seedDisk, title: 'seed' }
  return {
    memoryMiB: config.memorySize,
    vcpu: config.vcpu ?? 1,
    firmware: config.firmware,
    controller: handle.controller,
    disks: [
      { port: portOfRoot(config), path: handle.disk, title: rootName },
      ...dataDisks(config).map(([name, { port }]) => ({
        port,
        path: handle.extraDisks[name] ?? '',
        title: name,
      })),
      ...(method === 'nocloud' ? [seed] : []),
    ],
    mac: allocation.mac,
    nics: nicsOf(resource),
    forwards: forwardsOf(allocation),
    sharedFolders: Object.entries(config.sharedFolders).map(([name, folder]) => ({ name, ...folder })),
    console: resource.console,
    vmFlags: config.vmFlags,
    extraFlags: config.extraFlags,
    identity: identityDigest(guestOf(resource), method),
  }
}

function nicsOf({ config, allocation, deployment }: VirtualBoxResource): MachineNic[] {
  const { hostOnly } = config
  const { hostOnlyMac, lanMac, lan } = allocation
  const hostOnlyNic: MachineNic[] =
    hostOnly === null
      ? []
      : [
          {
            number: 2,
            kind: hostOnly.adapter === null ? 'hostonlynet' : 'hostonly',
            source: hostOnly.adapter ?? hostOnly.network ?? '',
            mac: hostOnlyMac,
          },
        ]
  const lanNic: MachineNic[] =
    !config.lan || lan === null
      ? []
      : [{ number: 3, kind: 'intnet', source: lanName(deployment.uuid), mac: lanMac }]
  return [...hostOnlyNic, ...lanNic]
}
