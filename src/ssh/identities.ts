import { readFileSync } from 'node:fs'
import ssh2, { type ParsedKey, type PublicKeyEntry } from 'ssh2'
import { messageOf } from '../core/errors.js'
import { fingerprint, typeOf } from './host-key.js'

/** One identity file and its usable parts. */
export type Identity = { readonly file: string } & (
  | { readonly kind: 'usable'; readonly blob: Buffer; readonly key: Buffer }
  /** A key with a passphrase, which only an agent can use. */
  | { readonly kind: 'encrypted'; readonly blob: Buffer | undefined }
  | { readonly kind: 'security-key'; readonly blob: Buffer }
  /** A file with only the public half; the agent may hold the private half. */
  | { readonly kind: 'public'; readonly blob: Buffer }
  | { readonly kind: 'unreadable'; readonly blob: Buffer | undefined; readonly reason: string }
)

export function loadIdentity(file: string): Identity {
  let text: Buffer
  try {
    text = readFileSync(file)
  } catch (error) {
    return { file, kind: 'unreadable', reason: messageOf(error), blob: publicBlobBeside(file) }
  }
  const parsed = firstKey(ssh2.utils.parseKey(text))
  if (parsed instanceof Error) {
    const blob =
      openSshPublicBlob(text.toString('latin1')) ??
      publicBlob(text.toString('utf8')) ??
      publicBlobBeside(file)
    if (blob !== undefined && typeOf(blob).startsWith('sk-')) return { file, kind: 'security-key', blob }
    if (/encrypted|passphrase/i.test(parsed.message) || text.includes('ENCRYPTED'))
      return { file, kind: 'encrypted', blob }
    return { file, kind: 'unreadable', reason: parsed.message, blob }
  }
  const blob = parsed.getPublicSSH()
  return parsed.isPrivateKey() ? { file, kind: 'usable', key: text, blob } : { file, kind: 'public', blob }
}

/** Returns the agent's keys that ssh2 can use; `[]` when no agent answers. */
export function agentKeys(socket: string, timeoutMs = 5_000): Promise<ParsedKey[]> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve([]), timeoutMs)
    ssh2.createAgent(socket).getIdentities((error, keys) => {
      clearTimeout(timer)
      resolve(error ? [] : (keys ?? []).flatMap((key) => parsedAgentKey(key)))
    })
  })
}

/**
 * An agent that offers chosen keys in the given order. ssh2 by itself offers all keys, and servers limit the number of
 * tries.
 */
export class ChosenAgentKeys extends ssh2.OpenSSHAgent {
  readonly #keys: readonly ParsedKey[]

  constructor(socket: string, keys: readonly ParsedKey[]) {
    super(socket)
    this.#keys = keys
  }

  override getIdentities(done: (error: undefined, keys: ParsedKey[]) => void): void {
    done(undefined, [...this.#keys])
  }
}

/** Describes a key for errors: `SHA256:… (comment)`. */
export function describeKey(key: ParsedKey): string {
  return `${fingerprint(key.getPublicSSH())}${key.comment === '' ? '' : ` (${key.comment})`}`
}

function parsedAgentKey(key: string | Buffer | ParsedKey | PublicKeyEntry): ParsedKey[] {
  if (typeof key === 'object' && 'pubKey' in key) return []
  const parsed = firstKey(ssh2.utils.parseKey(key))
  return parsed instanceof Error ? [] : [parsed]
}

function firstKey(parsed: ParsedKey | ParsedKey[] | Error): ParsedKey | Error {
  if (!Array.isArray(parsed)) return parsed
  return parsed[0] ?? new Error('the file holds no key')
}

/** Parses `ssh-ed25519 AAAA…`. */
function publicBlob(line: string): Buffer | undefined {
  const [type = '', encoded = ''] = line.trim().split(/\s+/)
  const blob = Buffer.from(encoded, 'base64')
  return type !== '' && typeOf(blob) === type ? blob : undefined
}

function publicBlobBeside(file: string): Buffer | undefined {
  try {
    return publicBlob(readFileSync(`${file}.pub`, 'utf8'))
  } catch {
    return undefined
  }
}

/**
 * Reads the public half of an OpenSSH private key, which is readable even in an encrypted file. The order in
 * PROTOCOL.key is: magic, cipher, kdf, kdf options, number of keys, public key.
 */
function openSshPublicBlob(text: string): Buffer | undefined {
  const body = /-----BEGIN OPENSSH PRIVATE KEY-----([\s\S]*?)-----END/.exec(text)?.[1]
  if (body === undefined) return undefined
  const bytes = Buffer.from(body, 'base64')
  let at = 'openssh-key-v1\0'.length
  const next = (): Buffer | undefined => {
    if (at + 4 > bytes.length) return undefined
    const length = bytes.readUInt32BE(at)
    const field = bytes.subarray(at + 4, at + 4 + length)
    at += 4 + length
    return field
  }
  for (const _ of ['cipher', 'kdf', 'kdf options']) next()
  at += 4
  return next()
}
