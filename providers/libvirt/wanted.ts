import { existsSync, linkSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs'
import { copyFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { renameDurably, temporary } from '../../src/core/durable-file.js'
import { failure } from '../../src/core/errors.js'
import { errnoOf } from '../../src/core/file-failure.js'
import type { BaseImage } from '../../src/core/image.js'
import type { Run } from '../../src/core/run.js'
import { putBack } from '../common/disks.js'
import { identityMethod } from '../common/guest.js'
import { identityDigest, identityFiles } from '../common/identity.js'
import { imageChange, placedImage, type Recreation, requireImage } from '../common/image.js'
import { isDraftOf } from '../common/places.js'
import { forwardsOf } from '../common/ports.js'
import { imageReference, type LibvirtConfig, type LibvirtHandle, type Network } from './config.js'
import { diskFolder, extraDiskPath, rootDiskPath } from './disks.js'
import type { DomainNic, DomainSpec } from './domain-spec.js'
import { guestOf } from './guest.js'
import { domainUuid } from './names.js'
import { type LibvirtParts, type LibvirtResource, type Places, wantedUri } from './places.js'
import { isSystem } from './virsh.js'

/** Returns the reason why a machine must be recreated; undefined where changes suffice. */
export function reasonToRecreate(parts: LibvirtParts, resource: LibvirtResource): Recreation | undefined {
  const { handle, config, os } = resource
  if (handle === undefined) return undefined
  const otherImage = imageChange(handle.image, imageReference(config, os))
  if (otherImage !== undefined) return otherImage
  const uri = wantedUri(parts, resource)
  if (handle.uri !== uri) return { detail: `libvirt ${handle.uri} → ${uri}` }
  const { disk } = handle.image
  // A lost image in the system folder is restored from the image store.
  const published = isSystem(uri) && resource.image !== undefined
  if (published || existsSync(disk)) return undefined
  return { detail: `the base image ${disk} is gone`, hint: putBack }
}

/** Describes the current or future machine. An existing machine keeps its original image and every disk. */
export async function wantedHandle(
  parts: LibvirtParts,
  places: Places,
  resource: LibvirtResource,
  run: Run,
): Promise<LibvirtHandle> {
  const known = resource.handle
  const disks = Object.keys(resource.config.extraDisks)
  const folder =
    known === undefined || disks.some((disk) => known.extraDisks[disk] === undefined)
      ? await diskFolder(parts, places, resource, run)
      : places.folder
  return {
    uri: places.uri,
    uuid: domainUuid(resource.name),
    folder: places.folder,
    disk: known?.disk ?? rootDiskPath(folder, resource),
    extraDisks: {
      ...Object.fromEntries(disks.map((disk) => [disk, extraDiskPath(folder, resource, disk)])),
      ...known?.extraDisks,
    },
    image: known?.image ?? imageFor(parts, places, resource),
  }
}

/** Returns the image for a new machine, at a path that QEMU can read. */
export function imageFor(parts: LibvirtParts, places: Places, resource: LibvirtResource): BaseImage {
  const image = requireImage(resource, imageReference(resource.config, resource.os))
  if (!places.system) return placedImage(image)
  const folder = systemImageFolder(parts, image.id)
  return placedImage(image, (path) => join(folder, basename(path)))
}

export function systemImageFolder(parts: LibvirtParts, id: string): string {
  return join(parts.systemRoot, 'images', id)
}

/** Puts an image where QEMU's own user can read it. A hard link avoids the copy where the file system allows it. */
export async function publishImage(from: BaseImage, to: BaseImage): Promise<void> {
  const pairs = [
    [from.disk, to.disk],
    [from.kernel, to.kernel],
    [from.initrd, to.initrd],
  ] as const
  for (const [source, target] of pairs) {
    if (source === undefined || target === undefined || existsSync(target)) continue
    mkdirSync(dirname(target), { recursive: true, mode: 0o755 })
    try {
      linkSync(source, target)
    } catch (error) {
      if (errnoOf(error) === 'EEXIST') continue
      // Hard links do not work across file systems.
      await copyOnce(source, target)
    }
  }
}

/** Copies in progress, by target. */
const copies = new Map<string, Promise<void>>()

/** Copies a file once: machines that need the same image at the same time share one copy. */
async function copyOnce(source: string, target: string): Promise<void> {
  const copy = copies.get(target) ?? copyWhole(source, target).finally(() => copies.delete(target))
  copies.set(target, copy)
  await copy
}

/** Copies a file under a draft's name first. A partial copy would otherwise pass for the image. */
async function copyWhole(source: string, target: string): Promise<void> {
  sweepCopies(target)
  const draft = temporary(target)
  try {
    await copyFile(source, draft)
    await renameDurably(draft, target)
  } finally {
    rmSync(draft, { force: true })
  }
}

/** Time after which a copy that does not grow counts as abandoned. */
const abandonedMs = 3_600_000

/** Removes partial copies that crashes left. Other deployments share the folder, and may be copying now. */
function sweepCopies(target: string): void {
  for (const name of readdirSync(dirname(target))) {
    const draft = join(dirname(target), name)
    if (!isDraftOf(target, name)) continue
    const written = statSync(draft, { throwIfNoEntry: false })?.mtimeMs ?? Date.now()
    if (Date.now() - written > abandonedMs) rmSync(draft, { force: true })
  }
}

/** Describes the wanted domain. */
export async function wantedSpec(
  parts: LibvirtParts,
  places: Places,
  resource: LibvirtResource,
  handle: LibvirtHandle,
  run: Run,
): Promise<DomainSpec> {
  const { config, allocation } = resource
  const { image } = handle
  const method = identityMethod(resource, image)
  const files = identityFiles(places, method)
  const kernel = config.kernel ?? image.kernel
  return {
    name: resource.name,
    uuid: handle.uuid,
    deployment: resource.deployment.uuid,
    machine: resource.machine,
    type: await domainType(parts, config, run),
    memoryMiB: config.memorySize,
    vcpu: config.vcpu,
    kernel,
    initrd: config.initrd ?? image.initrd,
    // libvirt accepts a command line only together with a kernel.
    cmdline: kernel === undefined ? undefined : (config.cmdline ?? image.cmdline),
    credential: files.credential,
    identity: identityDigest(guestOf(resource), method),
    disks: disksOf(config, handle, files.seed),
    mac: allocation.mac,
    outbound: config.outbound,
    forwards: forwardsOf(allocation),
    nics: config.networks.map((network, index) => nicOf(network, allocation.nics[index] ?? '', resource)),
    console: resource.console,
    headless: config.headless,
    extraDevicesXML: config.extraDevicesXML,
    extraDomainXML: config.extraDomainXML,
    base: places.system ? { path: image.disk, format: image.format } : undefined,
  }
}

async function domainType(
  parts: LibvirtParts,
  { domainType: wanted }: LibvirtConfig,
  run: Run,
): Promise<'kvm' | 'qemu'> {
  if (wanted !== 'auto') return wanted
  return (await parts.kvm(run)).works ? 'kvm' : 'qemu'
}

function disksOf(
  config: LibvirtConfig,
  handle: LibvirtHandle,
  seed: string | undefined,
): DomainSpec['disks'] {
  const extra = Object.keys(config.extraDisks).sort()
  const disks = [
    { path: handle.disk, format: 'qcow2' as const },
    ...extra.map((name) => ({
      path: handle.extraDisks[name] ?? '',
      format: 'qcow2' as const,
      serial: name,
    })),
    ...(seed === undefined ? [] : [{ path: seed, format: 'raw' as const, readonly: true }]),
  ]
  return disks.map((disk, index) => ({ dev: deviceName(index), ...disk }))
}

/** Names a disk device: vda … vdz, vdaa … */
function deviceName(index: number): string {
  const letters = 'abcdefghijklmnopqrstuvwxyz'
  const last = letters[index % letters.length] ?? ''
  const before = Math.floor(index / letters.length)
  return `vd${before === 0 ? '' : (letters[before - 1] ?? '')}${last}`
}

function nicOf(network: Network, mac: string, resource: LibvirtResource): DomainNic {
  if (network === 'lan') {
    const { lan } = resource.allocation
    if (lan !== null) return { kind: 'lan', mac, group: lan.group, port: lan.port }
    throw failure('ALLOCATION', `machine '${resource.machine}' has no address in its LAN`, {
      machine: resource.machine,
      hint: 'hydra-ops deploy allocates an address',
    })
  }
  if (typeof network === 'string') return { kind: 'network', mac, source: network }
  return 'bridge' in network
    ? { kind: 'bridge', mac, source: network.bridge }
    : { kind: 'network', mac, source: network.network }
}
