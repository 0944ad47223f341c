import * as z from 'zod'
import { bootableImage, defaultImages, type SystemKind } from '../../src/core/image.js'
import { documented, shownAs } from '../../src/core/option-docs.js'
import type { OwnedPlace } from '../../src/core/owned-places.js'
import { imageOptions, MadeFrom } from '../common/image.js'
import { namedImage } from '../common/named-image.js'
import { forwardOption, portsShape } from '../common/ports.js'
import { writtenPlaces } from '../common/written-places.js'

/** The key of the options in a network expression: `deployment.virtualbox.*`. */
export const optionKey = 'virtualbox'

/** The option that chooses loopback ports. */
export const portOption = `deployment.${optionKey}.natForwards`

/** Name of the system disk, as in NixOps. */
export const rootName = 'disk1'
/** Port of the system disk if its options give no port. */
const rootPort = 0

/** Number of ports that the user's disks may have; hydra-ops's own disks have higher ports. */
export const diskPorts = 8

const sataPort = z
  .number()
  .int()
  .min(0)
  .max(diskPorts - 1)

const Disk = z.strictObject({
  port: documented(
    sataPort.nullable().default(null),
    'port of the disk controller, 0 to 7; only `disk1` has one by default: 0',
    1,
  ),
  size: documented(
    z.number().int().min(0).max(64_000_000).default(0),
    'size in MiB; a disk can grow, and cannot shrink. `0` is the size of its image',
    10_240,
    { shownType: 'MiB' },
  ),
  baseImage: documented(
    z.string().nullable().default(null),
    'disk image (vdi, vmdk, vhd, qcow2 or raw) that a new disk copies',
    './data.vmdk',
    { path: true },
  ),
})

const SharedFolder = z.strictObject({
  hostPath: documented(
    z.string().regex(/^\//, 'an absolute path'),
    'folder of this host, which the guest can mount: `mount -t vboxsf NAME FOLDER`',
    '/srv/share',
    { path: true },
  ),
  readOnly: documented(z.boolean().default(true), 'keeps the guest from writing to the folder', false),
})

const HostOnly = z
  .strictObject({
    adapter: documented(
      z.string().min(1).nullable().default(null),
      'name of a host-only adapter of this host',
      'vboxnet0',
    ),
    network: documented(
      z.string().min(1).nullable().default(null),
      'name of a host-only network, which VirtualBox has only on macOS',
      'HostNetwork',
    ),
    address: documented(
      z
        .string()
        .regex(/^[0-9]{1,3}(?:\.[0-9]{1,3}){3}\/[0-9]{1,2}$/, 'an IPv4 address with its prefix length')
        .nullable()
        .default(null),
      'address of the guest; otherwise a DHCP server of VirtualBox chooses the address',
      '192.168.56.10/24',
    ),
  })
  .refine(
    ({ adapter, network }) => (adapter === null) !== (network === null),
    'either an adapter or a network',
  )
export type HostOnly = z.infer<typeof HostOnly>

const diskName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,19}$/, 'at most 20 letters, digits, "-", "_"')

/** Options `deployment.virtualbox.*`, the source of options.nix and of the table in docs/options.md. */
export const VirtualBoxConfig = z.strictObject({
  memorySize: documented(z.number().int().min(64).default(1024), 'memory in MiB', 4096, { shownType: 'MiB' }),
  vcpu: documented(z.number().int().min(1).max(64).nullable().default(null), 'number of virtual CPUs', 2, {
    shownDefault: '`1`',
  }),
  headless: documented(z.boolean().default(true), '`false` opens a window on the screen of this host', false),
  vmFlags: documented(
    z.array(z.string()).default([]),
    'arguments that hydra-ops adds to `VBoxManage modifyvm`, unchanged',
    ['--nested-hw-virt', 'on'],
  ),
  extraFlags: documented(
    z
      .record(z.string().regex(/^[a-z][a-z0-9-]*$/, 'the name of an option of modifyvm'), z.string())
      .default({}),
    'options of `VBoxManage modifyvm` by name; they follow `vmFlags`, and join those of `defaults`',
    { 'vm-execution-engine': 'recompiler' },
  ),
  ...imageOptions,
  baseImageIdentity: documented(
    z.enum(['nocloud', 'none']).nullable().default(null),
    'way in which the image gets the host name and the keys: a seed disk, also for cloud-init (`"nocloud"`), or none',
    'nocloud',
    { shownDefault: 'the record of the image' },
  ),
  baseImageSize: documented(
    shownAs('GiB', z.number().int().min(1).max(65_536)).default(10),
    'size of the root disk in GiB; the disk and its file system can grow, and cannot shrink. `disks.disk1.size` comes first',
    20,
  ),
  disks: documented(
    z
      .record(diskName, Disk)
      .default({})
      .refine(
        (disks) => Object.entries(disks).every(([name, { port }]) => name === rootName || port !== null),
        'each disk but disk1 needs a port',
      )
      .refine((disks) => {
        const ports = Object.values(disks).map(({ port }) => port ?? rootPort)
        return new Set(ports).size === ports.length
      }, 'the same port twice')
      .refine(
        (disks) =>
          disks[rootName] !== undefined || !Object.values(disks).some(({ port }) => port === rootPort),
        `port 0 belongs to ${rootName}, the disk with the system`,
      )
      .refine(
        (disks) =>
          Object.entries(disks).every(
            ([name, { size, baseImage }]) => name === rootName || size > 0 || baseImage !== null,
          ),
        'a disk without an image needs a size',
      ),
    'further disks by name; `disk1` is the disk with the system, at port 0 by default',
    { data: { port: 1, size: 10_240 } },
  ),
  diskController: documented(
    z.enum(['sata', 'virtio']).nullable().default(null),
    'kind of the disk controller; a later change needs `--allow-recreate`',
    'virtio',
    { shownDefault: '`"sata"`' },
  ),
  linkedClone: documented(
    z.boolean().default(false),
    'gives a new machine a root disk that holds only the differences from its image',
    true,
  ),
  sharedFolders: documented(
    z.record(z.string().min(1), SharedFolder).default({}),
    'folders of this host that the guest can mount, by name',
    { share: { hostPath: '/srv/share', readOnly: false } },
  ),
  lan: documented(
    z.boolean().default(true),
    'network that is private to the deployment, in which machines find each other by name',
    false,
  ),
  hostOnly: documented(
    HostOnly.nullable().default(null),
    'network between this host and its guests. Its addresses lie in 192.168.56.0/21, or in the ranges of `/etc/vbox/networks.conf`',
    { adapter: 'vboxnet0', address: '192.168.56.10/24' },
  ),
  natForwards: forwardOption,
  firmware: documented(
    z.enum(['bios', 'efi']).default('bios'),
    'firmware of the machine; the images of hydra-ops boot only with a BIOS',
    'efi',
  ),
})
export type VirtualBoxConfig = z.infer<typeof VirtualBoxConfig>

export const VirtualBoxAllocation = z.object({
  /** MAC address of the network interface for ssh and the forwarded ports. */
  mac: z.string(),
  hostOnlyMac: z.string(),
  lanMac: z.string(),
  ...portsShape,
  lan: z.object({ address: z.ipv4() }).nullable(),
})
export type VirtualBoxAllocation = z.infer<typeof VirtualBoxAllocation>

/** Names of hydra-ops's storage controllers in a machine. */
export const ControllerName = z.enum(['SATA', 'VIRTIO'])
export type ControllerName = z.infer<typeof ControllerName>

export const VirtualBoxHandle = z.object({
  /** UUID of the machine, derived from its name. */
  uuid: z.uuid(),
  /** Folder of this machine's files. */
  folder: z.string(),
  disk: z.string(),
  /** Paths of the disk files by disk name, including detached disks. */
  extraDisks: z.record(z.string(), z.string()),
  controller: ControllerName,
  image: MadeFrom,
})
export type VirtualBoxHandle = z.infer<typeof VirtualBoxHandle>

/** Returns the image of the system disk. NixOps sets the image in the options of that disk. */
function systemImage({ baseImage, disks }: VirtualBoxConfig): string | null {
  return disks[rootName]?.baseImage ?? baseImage
}

/** Names the image of the system disk, the only disk from which VirtualBox boots. */
export function imageReference(config: VirtualBoxConfig, os: SystemKind = 'debian'): string {
  const named = { baseImage: systemImage(config), baseImageSha256: config.baseImageSha256 }
  return bootableImage(namedImage(named, { optionKey, otherwise: defaultImages[os] }))
}

export function ownedPlaces(config: VirtualBoxConfig): OwnedPlace[] {
  return writtenPlaces(systemImage(config) ?? defaultImages.debian, config.baseImageIdentity, 'VirtualBox')
}

/** Returns the port of the system disk. */
export function portOfRoot({ disks }: VirtualBoxConfig): number {
  return disks[rootName]?.port ?? rootPort
}

interface DataDisk {
  readonly size: number
  readonly baseImage: string | null
  readonly port: number
}

/** Lists the wanted data disks. */
export function dataDisks({ disks }: VirtualBoxConfig): [name: string, disk: DataDisk][] {
  return Object.entries(disks).flatMap(([name, { port, ...disk }]) =>
    name === rootName || port === null ? [] : [[name, { ...disk, port }]],
  )
}
