import * as z from 'zod'
import { defaultImages, type SystemKind } from '../../src/core/image.js'
import { documented, shownAs } from '../../src/core/option-docs.js'
import type { OwnedPlace } from '../../src/core/owned-places.js'
import { imageOptions, MadeFrom, optionalText } from '../common/image.js'
import { namedImage } from '../common/named-image.js'
import { forwardOption, portNumber, portsShape } from '../common/ports.js'
import { writtenPlaces } from '../common/written-places.js'

/** The key of the options in a network expression: `deployment.libvirtd.*`. */
export const optionKey = 'libvirtd'

/** The option that chooses loopback ports. */
export const portOption = `deployment.${optionKey}.forwardPorts`

const gibibytes = shownAs('GiB', z.number().int().min(1).max(65_536))

/** A network: `"lan"` is the deployment's own; any other name is one of libvirt's networks, as in NixOps. */
const Network = z.union(
  [
    z.string().min(1),
    z.strictObject({
      network: documented(z.string().min(1), 'name of a network of libvirt', 'default'),
    }),
    z.strictObject({
      bridge: documented(
        z.string().regex(/^[^\s/]{1,15}$/, 'a name of at most 15 characters without "/"'),
        'name of a bridge of this host',
        'br0',
      ),
    }),
  ],
  '"lan", the name of a network of libvirt, { network = NAME; } or { bridge = NAME; }',
)
export type Network = z.infer<typeof Network>

/** Options `deployment.libvirtd.*`; options.nix and the table of docs/options.md are generated from them. */
export const LibvirtConfig = z.strictObject({
  URI: documented(
    z
      .string()
      .regex(
        /^(?:qemu|test)(?:\+unix)?:\/\/\//,
        'a libvirt URI of this host: "qemu:///session" or "qemu:///system"',
      )
      .nullable()
      .default(null),
    'libvirt connection on this host: `"qemu:///session"` or `"qemu:///system"`',
    'qemu:///session',
    { shownDefault: '`"qemu:///system"` for root, `"qemu:///session"` for everybody else' },
  ),
  vcpu: documented(z.number().int().min(1).max(512).default(1), 'number of virtual CPUs', 2),
  memorySize: documented(z.number().int().min(64).default(1024), 'memory in MiB', 2048, {
    shownType: 'MiB',
  }),
  ...imageOptions,
  baseImageIdentity: documented(
    z.enum(['fwcfg', 'nocloud', 'none']).nullable().default(null),
    'way in which the image gets the host name and the keys: a systemd credential (`"fwcfg"`), a seed disk, also for cloud-init (`"nocloud"`), or none',
    'nocloud',
    { shownDefault: 'the record of the image' },
  ),
  baseImageSize: documented(
    gibibytes.default(10),
    'size of the root disk in GiB; the disk and its file system can grow, and cannot shrink',
    20,
  ),
  extraDisks: documented(
    z
      .record(
        z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,19}$/, 'at most 20 letters, digits, "-", "_"'),
        gibibytes,
      )
      .default({}),
    'further empty disks by name, each with its size in GiB; the guest has them as `/dev/disk/by-id/virtio-<name>`',
    { data: 20 },
  ),
  storagePool: optionalText('storage pool of libvirt (a directory pool) for the disks', 'default', {
    shownDefault: "none: the disks are in the deployment's folder",
  }),
  networks: documented(
    z
      .array(Network)
      .max(8)
      .refine((networks) => networks.filter((each) => each === 'lan').length <= 1, '"lan" more than once')
      .default(['lan']),
    'networks, besides the one for ssh. `"lan"` is private to the deployment; `{ network = …; }` or another name is a network of libvirt; `{ bridge = …; }` is a bridge of this host',
    ['lan', { bridge: 'br0' }, { network: 'default' }],
  ),
  forwardPorts: forwardOption,
  outbound: documented(
    z.boolean().default(true),
    'lets the guest open connections: to the internet, and through 10.0.2.2 to loopback ports of this host',
    false,
  ),
  domainType: documented(
    z.enum(['auto', 'kvm', 'qemu']).default('auto'),
    '`"kvm"`, `"qemu"` (emulation), or KVM if it works and emulation otherwise (`"auto"`)',
    'qemu',
  ),
  headless: documented(
    z.boolean().default(true),
    '`false` adds a screen, which VNC shows on 127.0.0.1',
    false,
  ),
  kernel: optionalText("kernel to boot, in place of the image's kernel", '/boot/vmlinuz', { path: true }),
  initrd: optionalText('initial RAM disk of that kernel', '/boot/initrd.img', { path: true }),
  cmdline: optionalText("kernel command line, in place of the image's", 'console=ttyS0 root=/dev/vda rw'),
  autostart: documented(
    z.boolean().default(false),
    "starts the machine together with libvirt's daemon",
    true,
  ),
  extraDevicesXML: documented(
    z.string().default(''),
    'XML that hydra-ops adds to the `<devices>` of the domain, unchanged',
    "<sound model='ich9'/>",
  ),
  extraDomainXML: documented(
    z.string().default(''),
    'XML that hydra-ops adds to the `<domain>`, unchanged',
    '<iothreads>2</iothreads>',
  ),
})
export type LibvirtConfig = z.infer<typeof LibvirtConfig>

/** A machine's address in the deployment's private network, and the settings that all machines share. */
const LanAllocation = z.object({
  address: z.ipv4(),
  /** Multicast group and UDP port on the loopback device, over which QEMU carries the frames. */
  group: z.ipv4(),
  port: portNumber,
})

export const LibvirtAllocation = z.object({
  /** MAC address of the network interface for ssh and the forwarded ports. */
  mac: z.string(),
  /** MAC addresses, one for each entry of `networks`. */
  nics: z.array(z.string()),
  ...portsShape,
  lan: LanAllocation.nullable(),
})
export type LibvirtAllocation = z.infer<typeof LibvirtAllocation>

export const LibvirtHandle = z.object({
  uri: z.string(),
  /** UUID of the domain, derived from its name. */
  uuid: z.uuid(),
  /** Folder of this machine's files, except disks in a storage pool. */
  folder: z.string(),
  disk: z.string(),
  /** Files of disks by the disks' names, including detached disks. */
  extraDisks: z.record(z.string(), z.string()),
  image: MadeFrom,
})
export type LibvirtHandle = z.infer<typeof LibvirtHandle>

export function ownedPlaces({ baseImage, baseImageIdentity }: LibvirtConfig): OwnedPlace[] {
  return writtenPlaces(baseImage ?? defaultImages.debian, baseImageIdentity, 'QEMU')
}

/** Returns the reference of the machine's base image: a name in the image store, a path or a URL. */
export function imageReference(config: LibvirtConfig, os: SystemKind = 'debian'): string {
  return namedImage(config, { optionKey, otherwise: defaultImages[os] })
}
