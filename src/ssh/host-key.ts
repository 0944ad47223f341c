import { createHash } from 'node:crypto'
import { failure, usageError } from '../core/errors.js'
import type { HostKeySeen, SshTarget } from '../core/ssh.js'

/** Signature algorithms by key type (RFC 8332 for RSA, without SHA-1). */
const algorithms = {
  'ssh-ed25519': ['ssh-ed25519'],
  'ecdsa-sha2-nistp256': ['ecdsa-sha2-nistp256'],
  'ecdsa-sha2-nistp384': ['ecdsa-sha2-nistp384'],
  'ecdsa-sha2-nistp521': ['ecdsa-sha2-nistp521'],
  'ssh-rsa': ['rsa-sha2-512', 'rsa-sha2-256'],
} as const

export type HostKeyType = keyof typeof algorithms
export type HostKeyAlgorithm = (typeof algorithms)[HostKeyType][number]

export interface HostKey {
  readonly type: HostKeyType
  readonly blob: Buffer
}

/** Parses `ssh-ed25519 AAAA… comment`. */
export function parseHostKey(text: string, machine: string): HostKey {
  const [type = '', encoded = ''] = text.trim().split(/\s+/)
  const blob = Buffer.from(encoded, 'base64')
  if (isHostKeyType(type) && encoded !== '' && typeOf(blob) === type) return { type, blob }
  throw usageError(`machine '${machine}': '${text}' is not a public host key`, {
    machine,
    hint: 'deployment.targetHostKey is a line such as "ssh-ed25519 AAAAC3Nz…" (ssh-keyscan HOST prints it)',
  })
}

/** Describes the key that hostVerifier gets in wire format. */
export function seenKey(blob: Buffer): HostKeySeen {
  return { key: `${typeOf(blob)} ${blob.toString('base64')}`, fingerprint: fingerprint(blob) }
}

/** Returns the fingerprint as OpenSSH shows it. */
export function fingerprint(blob: Buffer): string {
  return `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}`
}

export function algorithmsOf(key: HostKey): readonly HostKeyAlgorithm[] {
  return algorithms[key.type]
}

/** The algorithms to offer at the first contact, best first. */
export const allAlgorithms: readonly HostKeyAlgorithm[] = Object.values(algorithms).flat()

/** Returns the type of a key blob, its first length-prefixed field (RFC 4253, 6.6). */
export function typeOf(blob: Buffer): string {
  const length = blob.length < 4 ? 0 : blob.readUInt32BE(0)
  return blob.subarray(4, 4 + length).toString('latin1')
}

function isHostKeyType(type: string): type is HostKeyType {
  return Object.hasOwn(algorithms, type)
}

export function hostKeyChanged(target: SshTarget, pinned: HostKey, seen: HostKeySeen): Error {
  const { machine } = target
  const hint = target.existingHost
    ? `if the host was reinstalled on purpose, check its fingerprint, then set deployment.targetHostKey = "${seen.key}"`
    : 'hydra-ops created the known key; restore /etc/ssh of the machine if it was changed by hand, ' +
      "or run 'hydra-ops deploy --allow-recreate', which recreates the machine"
  return failure(
    'HOST_KEY_CHANGED',
    `machine '${machine}' (${target.host}:${target.port}) presents a host key other than the known key; hydra-ops refused the connection, because another machine may answer`,
    {
      machine,
      hint,
      detail: `known: ${fingerprint(pinned.blob)} (${pinned.type})\nshown: ${seen.fingerprint} (${seen.key.split(' ')[0]})`,
    },
  )
}

export function hostKeyUnknown(target: SshTarget, seen: HostKeySeen): Error {
  const { machine } = target
  return failure(
    'HOST_KEY_UNKNOWN',
    `machine '${machine}' (${target.host}:${target.port}): the host key ${seen.fingerprint} is not known yet and was not accepted`,
    {
      machine,
      hint: `set deployment.targetHostKey = "${seen.key}", or run 'hydra-ops deploy --accept-host-key'`,
    },
  )
}
