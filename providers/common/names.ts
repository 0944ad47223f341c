import { createHash } from 'node:crypto'
import { DeploymentUuid, MachineName, resourceName } from '../../src/core/names.js'

/** Values that are derived only from names, so that they stay the same after a crash and on another day. */
export interface DerivedNames {
  /** Derives a version 8 UUID, whose bits can be chosen freely (RFC 9562). */
  uuid(kind: string, ...names: readonly string[]): string
  /**
   * Derives a MAC address in a vendor's range. A new `attempt` avoids an address that another machine of the
   * network has.
   */
  macAddress(maker: readonly string[], names: MacNames): string
  /** Returns the port at which the search for a free port begins. */
  preferredPort(deployment: string, machine: string, from: number, count: number): number
  /** Derives the multicast group, the port and the address prefix of the deployment's LAN. */
  lan(deployment: string): { group: string; port: number; prefix: string }
}

export interface MacNames {
  readonly deployment: string
  readonly machine: string
  readonly nic: string
  readonly attempt: number
}

/** Derives names of one provider: each provider has its own namespace. */
export function derivedNames(namespace: string): DerivedNames {
  const digest = (...parts: readonly string[]): Buffer =>
    createHash('sha256')
      .update(JSON.stringify([namespace, ...parts]))
      .digest()
  return {
    uuid: (kind, ...names) => uuidOf(digest(kind, ...names)),
    macAddress: (maker, { deployment, machine, nic, attempt }) => {
      const bytes = digest('mac', deployment, machine, nic, String(attempt)).subarray(0, 3)
      return [...maker, ...[...bytes].map((byte) => byte.toString(16).padStart(2, '0'))].join(':')
    },
    preferredPort: (deployment, machine, from, count) =>
      from + (digest('ssh', deployment, machine).readUInt32BE(0) % count),
    lan: (deployment) => {
      const bytes = digest('lan', deployment)
      return {
        // 239.77.0.0/16 is in the block for use within an organisation (RFC 2365).
        group: `239.77.${bytes.readUInt8(0)}.${bytes.readUInt8(1)}`,
        // The port is below the kernel's range for outgoing connections (32768 and up).
        port: 10_000 + (bytes.readUInt16BE(2) % 9_000),
        prefix: `10.77.${bytes.readUInt8(4)}`,
      }
    },
  }
}

function uuidOf(digest: Buffer): string {
  const bytes = digest.subarray(0, 16)
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x80, 6)
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8)
  const hex = bytes.toString('hex')
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}

/** Returns a short id for the column "Resource Id" of `info`. */
export function shortName(deployment: string, machine: string): string {
  return `${deployment.slice(0, 8)}/${machine}`
}

/** Returns the name of the resource with this mark; undefined if the mark contains no valid names. */
export function markedName(mark: { deployment: string; machine: string }): string | undefined {
  const deployment = DeploymentUuid.safeParse(mark.deployment)
  const machine = MachineName.safeParse(mark.machine)
  return deployment.success && machine.success ? resourceName(deployment.data, machine.data) : undefined
}
