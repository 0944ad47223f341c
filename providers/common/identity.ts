import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describeEnd } from '../../src/core/command-result.js'
import type { LocalCommands } from '../../src/core/context.js'
import { renameDurably, replaceFile } from '../../src/core/durable-file.js'
import { failure } from '../../src/core/errors.js'
import type { IdentityMethod } from '../../src/core/image.js'
import type { MachineIdentity } from '../../src/core/provider.js'
import type { Run } from '../../src/core/run.js'
import { draftOf } from './draft.js'

/** A network interface in the guest's configuration. */
export interface GuestNic {
  readonly name: string
  readonly mac: string
  /** Address in CIDR; undefined = DHCP. */
  readonly address: string | undefined
  readonly gateway?: string
}

/** A machine before its first boot: its future identity and its network. */
export interface Guest {
  readonly machine: string
  /** Name of the machine's resource, by which cloud-init recognizes an instance. */
  readonly name: string
  /** Identity; undefined until the keys are generated. */
  readonly identity: MachineIdentity | undefined
  readonly nics: readonly GuestNic[]
  /** Address of the name server; undefined = the guest has no outbound access. */
  readonly nameServer: string | undefined
  /** The option that disables outbound access, for a comment in a file of the guest. */
  readonly closedBy: string
}

/** Paths of an identity's files. */
export interface IdentityPlaces {
  readonly folder: string
  readonly credential: string
  readonly seed: string
}

/** The files that carry a machine's identity; a file is undefined if the method does not use it. */
export interface IdentityFiles {
  readonly credential: string | undefined
  readonly seed: string | undefined
}

export function identityFiles(places: IdentityPlaces, method: IdentityMethod): IdentityFiles {
  return {
    credential: method === 'fwcfg' ? places.credential : undefined,
    seed: method === 'nocloud' ? places.seed : undefined,
  }
}

/**
 * Hashes only the public part of an identity, so that nothing derived from the private host key is stored
 * elsewhere.
 */
export function identityDigest({ identity, nics }: Guest, method: IdentityMethod): string {
  const facts = [method, identity?.hostName, identity?.hostKeyPublic, identity?.authorizedKey, nics]
  return createHash('sha256').update(JSON.stringify(facts)).digest('hex').slice(0, 16)
}

/** Writes the identity for the next boot. A running guest keeps the data that it has read. */
export async function writeIdentity(
  local: Pick<LocalCommands, 'run'>,
  places: IdentityPlaces,
  guest: Guest,
  method: IdentityMethod,
  run: Run,
): Promise<void> {
  if (method === 'none') return
  const { identity, machine } = guest
  if (identity === undefined) {
    throw failure('IDENTITY', `machine '${machine}' has no host key yet`, { machine })
  }
  const hostKey = readFileSync(identity.hostKeyFile, 'utf8')
  if (method === 'fwcfg') await replaceFile(places.credential, tmpfilesLines(guest, identity, hostKey))
  else await writeSeed(local, places, seedFiles(guest, identity, hostKey), run)
}

export function hasIdentity(files: IdentityFiles): boolean {
  return [files.credential, files.seed].every((file) => file === undefined || existsSync(file))
}

/**
 * Returns lines for systemd-tmpfiles (tmpfiles.d(5)). systemd 252 and newer read the lines from the credential
 * `tmpfiles.extra`; hydra-ops's own images read the lines from the seed disk. `f+` rewrites each file at every
 * boot, so a file that a power cut left empty is repaired. `~` marks base64.
 */
export function tmpfilesLines(guest: Guest, identity: MachineIdentity, hostKey: string): string {
  const files: [path: string, mode: string, text: string][] = [
    ['/etc/hostname', '0644', `${identity.hostName}\n`],
    ['/etc/ssh/ssh_host_ed25519_key', '0600', hostKey],
    ['/etc/ssh/ssh_host_ed25519_key.pub', '0644', `${identity.hostKeyPublic}\n`],
    ['/etc/ssh/authorized_keys.d/root', '0644', `${identity.authorizedKey}\n`],
    ['/etc/resolv.conf', '0644', resolvConf(guest)],
    ...guest.nics.map((nic): [string, string, string] => [
      `/etc/systemd/network/10-hydra-ops-${nic.name}.network`,
      '0644',
      networkdFile(nic),
    ]),
  ]
  return files
    .map(([path, mode, text]) => `f+~ ${path} ${mode} root root - ${Buffer.from(text).toString('base64')}\n`)
    .join('')
}

function resolvConf({ nameServer, closedBy }: Guest): string {
  return nameServer === undefined
    ? `# ${closedBy}
`
    : `nameserver ${nameServer}
`
}

function networkdFile(nic: GuestNic): string {
  const address =
    nic.address === undefined ? ['DHCP=yes'] : [`Address=${nic.address}`, 'LinkLocalAddressing=no']
  const lines = [
    '[Match]',
    `MACAddress=${nic.mac}`,
    '[Network]',
    ...address,
    ...(nic.gateway === undefined ? [] : [`Gateway=${nic.gateway}`]),
    ...(nic.address === undefined ? [] : ['IPv6AcceptRA=no']),
    'LLMNR=no',
  ]
  return `${lines.join('\n')}\n`
}

/**
 * Returns the files of cloud-init's NoCloud data source, and lines for hydra-ops's own images, which have no
 * cloud-init. The files contain JSON, which is valid YAML and needs no special quoting.
 */
export function seedFiles(
  guest: Guest,
  identity: MachineIdentity,
  hostKey: string,
): Readonly<Record<'user-data' | 'meta-data' | 'network-config' | 'hydra-ops.tmpfiles', string>> {
  const userData = {
    hostname: identity.hostName,
    ssh_deletekeys: true,
    ssh_keys: { ed25519_private: hostKey, ed25519_public: identity.hostKeyPublic },
    disable_root: false,
    ssh_pwauth: false,
    users: ['default', { name: 'root', ssh_authorized_keys: [identity.authorizedKey] }],
  }
  const ethernets = Object.fromEntries(guest.nics.map((nic) => [nic.name, netplan(nic, guest.nameServer)]))
  return {
    'user-data': `#cloud-config\n${JSON.stringify(userData)}\n`,
    // Every change creates a new instance ID, so that cloud-init applies the data again.
    'meta-data': `${JSON.stringify({
      'instance-id': `${guest.name}-${identityDigest(guest, 'nocloud')}`,
      'local-hostname': identity.hostName,
    })}\n`,
    'network-config': `${JSON.stringify({ version: 2, ethernets })}\n`,
    'hydra-ops.tmpfiles': tmpfilesLines(guest, identity, hostKey),
  }
}

function netplan(nic: GuestNic, nameServer: string | undefined): object {
  return {
    match: { macaddress: nic.mac },
    ...(nic.address === undefined ? { dhcp4: true } : { addresses: [nic.address] }),
    ...(nic.gateway === undefined
      ? {}
      : { gateway4: nic.gateway, nameservers: { addresses: nameServer === undefined ? [] : [nameServer] } }),
  }
}

/**
 * Writes a file system labelled `cidata`. The file system is attached as a disk, because Debian's cloud kernel has no
 * driver for a CD drive.
 */
async function writeSeed(
  local: Pick<LocalCommands, 'run'>,
  places: IdentityPlaces,
  files: Readonly<Record<string, string>>,
  run: Run,
): Promise<void> {
  const what = 'create the seed disk'
  mkdirSync(places.folder, { recursive: true })
  const folder = join(places.folder, '.seed')
  const draft = draftOf(places.seed)
  // A folder that a crash left still contains the host key.
  rmSync(folder, { recursive: true, force: true })
  try {
    mkdirSync(folder, { mode: 0o700 })
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text, { mode: 0o600 })
    // The draft exists before xorriso runs; xorriso would otherwise create a file that every user can read.
    writeFileSync(draft, '', { mode: 0o600 })
    const argv = ['xorriso', '-as', 'mkisofs', '-quiet', '-V', 'cidata', '-J', '-r', '-o', draft, folder]
    const result = await local.run(argv, { signal: run.signal, timeoutMs: 60_000, what })
    if (result.kind !== 'exited' || result.code !== 0) {
      throw failure('SEED', `cannot ${what}: ${result.stderr.trim() || describeEnd(result)}`)
    }
    // A later run does not write a complete seed again. The folder is removed before the rename, because a crash
    // after the rename would otherwise leave the folder.
    rmSync(folder, { recursive: true, force: true })
    await renameDurably(draft, places.seed)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
