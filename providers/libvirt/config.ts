import * as z from 'zod'
import type { BaseImage } from '../../src/core/image.js'
import { documented, type OptionWords, shownAs } from '../../src/core/option-docs.js'
import type { OwnedPlace } from '../../src/core/owned-places.js'
import { namedImage } from '../common/named-image.js'

/** The key of the options in a network expression: `deployment.libvirtd.*`. */
export const optionKey = 'libvirtd'

/** The option that chooses loopback ports. */
export const portOption = `deployment.${optionKey}.forwardPorts`

const port = shownAs('port', z.number().int().min(1).max(65535))
const gibibytes = shownAs('GiB', z.number().int().min(1).max(65_536))

/** Makes the schema of an option that may be left out; NixOps writes "" for "not given". */
function optionalText(description: string, example: string, words: OptionWords = {}) {
  // A transformed schema loses its examples in a JSON schema, so the text schema keeps them.
  const text = documented(z.string().nullable().default(null), description, example, words)
  return text.transform((given) => (given === '' ? null : given))
}

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

const ForwardPort = z.strictObject({
  host: documented(port, 'port on 127.0.0.1 of this host', 8080),
  guest: documented(port, 'port of the guest', 80),
  proto: documented(z.literal('tcp').default('tcp'), 'protocol of the port', 'tcp'),
})

/** Options `deployment.libvirtd.*`; options.nix and the table of docs/options.md are generated from them. */
export const LibvirtConfig = z.strictObject({
  URI: documented(
    z
      .string()
      .regex(
        /^(?:qemu|test)(?:\+unix)?:\/\/\//,
        'a libvirt of this host: "qemu:///session" or "qemu:///system"',
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
  baseImage: optionalText(
    'base image: a name in `hydra-ops image list`, a qcow2 or raw file, or a URL. A later change needs `--allow-recreate`',
    'debian-12',
    { path: true, shownDefault: 'the image for `deployment.os` (`"debian-12"`)' },
  ),
  baseImageSha256: documented(
    z
      .string()
      .regex(/^[0-9a-f]{64}$/, '64 hexadecimal digits, as sha256sum prints them')
      .nullable()
      .default(null),
    'SHA-256 of the file at the URL, as `sha256sum` prints it',
    'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
    { shownType: 'hex' },
  ),
  baseImageIdentity: documented(
    z.enum(['fwcfg', 'nocloud', 'none']).nullable().default(null),
    'way in which a foreign image gets host name and keys: a systemd credential (`"fwcfg"`), a cloud-init seed disk (`"nocloud"`), or none',
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
  forwardPorts: documented(
    z
      .array(ForwardPort)
      .refine((all) => new Set(all.map(({ host }) => host)).size === all.length, 'the same host port twice')
      .default([]),
    'TCP ports of the guest that this host publishes on 127.0.0.1; `info` shows the URLs',
    [{ host: 8080, guest: 80 }],
  ),
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

/** The deployment's private network, which is the same for each of its machines. */
const LanAllocation = z.object({
  address: z.ipv4(),
  /** Multicast group and UDP port on the loopback device, over which QEMU carries the frames. */
  group: z.ipv4(),
  port,
})

export const LibvirtAllocation = z.object({
  /** Address of the network interface for ssh and the forwarded ports. */
  mac: z.string(),
  /** Addresses, one for each entry of `networks`. */
  nics: z.array(z.string()),
  /** Port on 127.0.0.1 of the operator host. */
  sshPort: port,
  /** `asked` = the host port that the user chose, where another program had it. */
  forwardPorts: z.array(z.object({ host: port, guest: port, asked: port.optional() })),
  lan: LanAllocation.nullable(),
})
export type LibvirtAllocation = z.infer<typeof LibvirtAllocation>

/** The base image that the machine was made from. */
const MadeFrom: z.ZodType<BaseImage> = z.object({
  id: z.string(),
  reference: z.string(),
  disk: z.string(),
  format: z.enum(['qcow2', 'raw']),
  virtualBytes: z.number(),
  kernel: z.string().optional(),
  initrd: z.string().optional(),
  cmdline: z.string().optional(),
  identity: z.enum(['fwcfg', 'nocloud', 'none']),
})

export const LibvirtHandle = z.object({
  uri: z.string(),
  /** UUID of the domain, derived from its name. */
  uuid: z.uuid(),
  /** Folder of this machine's files, except a disk in a storage pool. */
  folder: z.string(),
  disk: z.string(),
  /** Files by name, including detached ones. */
  extraDisks: z.record(z.string(), z.string()),
  image: MadeFrom,
})
export type LibvirtHandle = z.infer<typeof LibvirtHandle>

const defaultImage = 'debian-12'

/** Names the files that an image of ours writes at each boot (see identity.ts); nothing is known about other images. */
export function ownedPlaces({ baseImage, baseImageIdentity }: LibvirtConfig): OwnedPlace[] {
  const ours = baseImage === null || baseImage === defaultImage
  if ((baseImageIdentity ?? (ours ? 'fwcfg' : 'none')) !== 'fwcfg') return []
  return [
    { path: '/etc/hostname', instead: "the machine's name in the network" },
    {
      path: '/etc/ssh/ssh_host_ed25519_key',
      instead: 'a host key of another kind: /etc/ssh/ssh_host_rsa_key',
    },
    {
      path: '/etc/ssh/ssh_host_ed25519_key.pub',
      instead: 'a host key of another kind: /etc/ssh/ssh_host_rsa_key.pub',
    },
    { path: '/etc/ssh/authorized_keys.d/root', instead: "root's own ~/.ssh/authorized_keys" },
    {
      path: '/etc/resolv.conf',
      instead: 'the name servers of the operator host: QEMU asks them for the guest',
    },
    { path: '/etc/systemd/network/10-hydra-ops-*.network', instead: 'a drop-in beside it' },
  ]
}

/** Makes the query for the image store. */
export function imageReference(config: LibvirtConfig): string {
  return namedImage(config, { optionKey, otherwise: defaultImage })
}
