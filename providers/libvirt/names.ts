import { createHash } from 'node:crypto'

/** All values here follow from names alone, so they are the same after a crash and on another day. */

const namespace = 'hydra-ops libvirt'

function digest(...parts: readonly string[]): Buffer {
  return createHash('sha256')
    .update(JSON.stringify([namespace, ...parts]))
    .digest()
}

/** Makes a version 8 UUID (RFC 9562: its bits are ours to choose). */
export function domainUuid(resourceName: string): string {
  const bytes = digest('domain', resourceName).subarray(0, 16)
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x80, 6)
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8)
  const hex = bytes.toString('hex')
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}

/** Makes an address in QEMU's own range. `attempt` avoids one that another machine of the network has. */
export function macAddress(deployment: string, machine: string, nic: string, attempt: number): string {
  const bytes = digest('mac', deployment, machine, nic, String(attempt)).subarray(0, 3)
  return ['52', '54', '00', ...[...bytes].map((byte) => byte.toString(16).padStart(2, '0'))].join(':')
}

/** Returns the port where the search for a free one begins. */
export function preferredPort(deployment: string, machine: string, from: number, count: number): number {
  return from + (digest('ssh', deployment, machine).readUInt32BE(0) % count)
}

/**
 * Describes the deployment's LAN. 239.77.0.0/16 is in the block for one organisation (RFC 2365); with
 * `localaddr=127.0.0.1` no packet leaves the loopback device.
 */
export function deploymentLan(deployment: string): { group: string; port: number; prefix: string } {
  const bytes = digest('lan', deployment)
  return {
    group: `239.77.${bytes.readUInt8(0)}.${bytes.readUInt8(1)}`,
    // The port is below the kernel's range for outgoing connections (32768 and up).
    port: 10_000 + (bytes.readUInt16BE(2) % 9_000),
    prefix: `10.77.${bytes.readUInt8(4)}`,
  }
}
