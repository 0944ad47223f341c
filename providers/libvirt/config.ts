import * as z from 'zod'
import type { BaseImage } from '../../src/core/image.js'
import type { OwnedPlace } from '../../src/core/owned-places.js'

const port = z.number().int().min(1).max(65535)
const gibibytes = z.number().int().min(1).max(65_536)

/** NixOps writes "" where it means "not given". */
const optionalText = z
  .string()
  .nullable()
  .default(null)
  .transform((text) => (text === '' ? null : text))

/** `"lan"` is the deployment's own; any other name is one of libvirt's networks, as in NixOps. */
const Network = z.union(
  [
    z.string().min(1),
    z.strictObject({ network: z.string().min(1) }),
    z.strictObject({
      bridge: z.string().regex(/^[^\s/]{1,15}$/, 'a name of at most 15 characters without "/"'),
    }),
  ],
  '"lan", the name of a network of libvirt, { network = NAME; } or { bridge = NAME; }',
)
export type Network = z.infer<typeof Network>

const ForwardPort = z.strictObject({ host: port, guest: port, proto: z.literal('tcp').default('tcp') })

/** `deployment.libvirtd.*`; `options.nix` declares the same. Sizes: memory in MiB, disks in GiB. */
export const LibvirtConfig = z.strictObject({
  URI: z
    .string()
    .regex(
      /^(?:qemu|test)(?:\+unix)?:\/\/\//,
      'a libvirt of this host: "qemu:///session" or "qemu:///system"',
    )
    .nullable()
    .default(null),
  storagePool: optionalText,
  vcpu: z.number().int().min(1).max(512).default(1),
  memorySize: z.number().int().min(64).default(1024),
  headless: z.boolean().default(true),
  baseImage: optionalText,
  baseImageSha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/, '64 hexadecimal digits, as sha256sum prints them')
    .nullable()
    .default(null),
  baseImageIdentity: z.enum(['fwcfg', 'nocloud', 'none']).nullable().default(null),
  baseImageSize: gibibytes.default(10),
  extraDisks: z
    .record(
      z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,19}$/, 'at most 20 letters, digits, "-", "_"'),
      gibibytes,
    )
    .default({}),
  networks: z
    .array(Network)
    .max(8)
    .refine((networks) => networks.filter((each) => each === 'lan').length <= 1, '"lan" more than once')
    .default(['lan']),
  forwardPorts: z
    .array(ForwardPort)
    .refine((all) => new Set(all.map(({ host }) => host)).size === all.length, 'the same host port twice')
    .default([]),
  outbound: z.boolean().default(true),
  domainType: z.enum(['auto', 'kvm', 'qemu']).default('auto'),
  kernel: optionalText,
  initrd: optionalText,
  cmdline: optionalText,
  extraDevicesXML: z.string().default(''),
  extraDomainXML: z.string().default(''),
  autostart: z.boolean().default(false),
})
export type LibvirtConfig = z.infer<typeof LibvirtConfig>

/** The deployment's private network, of which each machine of it computes the same. */
const LanAllocation = z.object({
  address: z.ipv4(),
  /** Multicast group and UDP port on the loopback device, over which QEMU carries the frames. */
  group: z.ipv4(),
  port,
})

export const LibvirtAllocation = z.object({
  /** Address of the network interface that carries ssh and the forwarded ports. */
  mac: z.string(),
  /** One per entry of `networks`. */
  nics: z.array(z.string()),
  /** On 127.0.0.1 of the operator host. */
  sshPort: port,
  /** `asked` = the host port of the user's choice, where a stranger had it and another was taken. */
  forwardPorts: z.array(z.object({ host: port, guest: port, asked: port.optional() })),
  lan: LanAllocation.nullable(),
})
export type LibvirtAllocation = z.infer<typeof LibvirtAllocation>

/** The base image as the machine was made from it. */
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
  /** UUID of the domain; follows from its name. */
  uuid: z.uuid(),
  /** Where everything of this machine lies, but for a disk in a storage pool. */
  folder: z.string(),
  disk: z.string(),
  /** Name → file, also of those that are not attached any more. */
  extraDisks: z.record(z.string(), z.string()),
  image: MadeFrom,
})
export type LibvirtHandle = z.infer<typeof LibvirtHandle>

const defaultImage = 'debian-12'

/** Names the files that an image of ours writes at each boot (see identity.ts); of other images nothing is known. */
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

/** What the image store is asked for. */
export function imageReference(config: LibvirtConfig): string {
  const { baseImage, baseImageSha256 } = config
  if (baseImage === null) return defaultImage
  return baseImageSha256 === null ? baseImage : `${baseImage}#sha256=${baseImageSha256}`
}
