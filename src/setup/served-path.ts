import { createHash } from 'node:crypto'
import { requireSuccess } from '../core/command-result.js'
import { EndedEarly, type HttpAnswer, refusal } from '../core/http-request.js'
import type { Run } from '../core/run.js'
import type { Host } from '../core/ssh.js'
import { targetScript } from '../remote/target-scripts.js'
import { narInfoField, verifyNarInfo } from './narinfo-signature.js'

/** A store path, and access to the cache that serves the path. */
export interface ServedPath {
  /** The 32 characters before the path's name. */
  readonly hash: string
  /** Root of the cache: `/`, or `/static-cache/`. */
  readonly folder: string
  readonly publicKey: string
  get(path: string): Promise<HttpAnswer>
}

/** Problem with a path that a cache serves. */
export interface ServedProblem {
  readonly text: string
  /** Whether the narinfo is signed but the NAR is empty, because the program that the cache calls fails. */
  readonly emptyNar: boolean
}

const unpackMs = 120_000

/** Returns the hash by which a cache identifies a store path; '' if the text is not a store path. */
export function hashPart(path: string): string {
  return /^\/nix\/store\/([0-9a-z]{32})-/.exec(path)?.[1] ?? ''
}

/**
 * Checks a path that a cache serves; `undefined` means that the narinfo is signed and the NAR matches. An unknown
 * compression is accepted if the file's hash matches. The narinfo alone proves nothing, because a cache may sign paths
 * whose NARs are empty (measured).
 */
export async function servedProblem(
  host: Host,
  served: ServedPath,
  run: Run,
): Promise<ServedProblem | undefined> {
  const name = `${served.folder}${served.hash}.narinfo`
  const narinfo = await served.get(name)
  if (narinfo.status !== 200) return filled(`${name} answers with ${refusal(narinfo)}`)
  if (!verifyNarInfo(narinfo.body, served.publicKey))
    return filled(`${name} is not signed by the key of this machine`)
  const url = narInfoField(narinfo.body, 'URL')
  const nar = `${served.folder}${url}`
  const answer = await served.get(nar).catch((error: unknown) => {
    if (error instanceof EndedEarly) return error
    throw error
  })
  if (answer instanceof EndedEarly) return { text: `${nar}: ${answer.message}`, emptyNar: answer.size === 0 }
  if (answer.status !== 200) return filled(`${nar}: the NAR answers with ${refusal(answer)}`)
  if (answer.bytes.length === 0) return { text: `${nar}: the NAR is empty`, emptyNar: true }
  const problem = await contentProblem(host, narinfo.body, answer.bytes, run)
  return problem === undefined ? undefined : filled(`${nar}: ${problem}`)
}

function filled(text: string): ServedProblem {
  return { text, emptyNar: false }
}

/** Compares the bytes of a NAR with the hashes in its narinfo. */
async function contentProblem(
  host: Host,
  narinfo: string,
  bytes: Uint8Array,
  run: Run,
): Promise<string | undefined> {
  const fileHash = narInfoField(narinfo, 'FileHash')
  const fileProblem = fileHash === '' ? undefined : hashProblem(sha256(bytes), fileHash)
  if (fileProblem !== undefined) return fileProblem
  const compression = narInfoField(narinfo, 'Compression')
  // FileHash is not signed, so FileHash alone is accepted only if the NAR cannot be unpacked.
  const promised = narInfoField(narinfo, 'NarHash')
  if (compression === 'none') return hashProblem(sha256(bytes), promised)
  const debianPackage = unpackers[compression]
  if (debianPackage === undefined)
    return fileHash === ''
      ? `the NAR is compressed with '${compression}', which hydra-ops does not support`
      : undefined
  const seen = await unpackedHash(host, compression, bytes, run)
  if (seen === undefined)
    return `the NAR is compressed with '${compression}', but the machine lacks that program; set deployment.aptPackages = [ "${debianPackage}" ]`
  return hashProblem(seen, promised)
}

/** Debian packages with decompression programs, by the name of the compression in a narinfo. */
const unpackers: Readonly<Record<string, string | undefined>> = {
  xz: 'xz-utils',
  bzip2: 'bzip2',
  gzip: 'gzip',
  zstd: 'zstd',
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest()
}

/** Computes the hash of the unpacked bytes; `undefined` if the machine lacks the program. */
async function unpackedHash(
  host: Host,
  program: string,
  bytes: Uint8Array,
  run: Run,
): Promise<Buffer | undefined> {
  const what = `unpack a NAR with ${program}`
  const options = { signal: run.signal, timeoutMs: unpackMs, what, stdin: bytes }
  const result = await host.script(targetScript('tasks/unpack', { program }), [], options)
  if (result.kind === 'exited' && result.code === notInstalled) return undefined
  const { stdout } = requireSuccess(result, { machine: host.machine, what })
  return Buffer.from(stdout.trim(), 'hex')
}

const notInstalled = 3

function hashProblem(seen: Buffer, promised: string): string | undefined {
  const forms = [
    `sha256:${nixBase32(seen)}`,
    `sha256:${seen.toString('hex')}`,
    `sha256-${seen.toString('base64')}`,
  ]
  return forms.includes(promised) ? undefined : `the NAR has the hash ${forms[0]} instead of ${promised}`
}

const digits = '0123456789abcdfghijklmnpqrsvwxyz'

/** Encodes a hash as Nix does. Nix's base 32 begins with the last digit, and uses an alphabet without e, o, t and u. */
export function nixBase32(bytes: Uint8Array): string {
  const length = Math.ceil((bytes.length * 8) / 5)
  return Array.from({ length }, (_, index) => {
    const bit = (length - 1 - index) * 5
    const pair = (bytes[bit >> 3] ?? 0) | ((bytes[(bit >> 3) + 1] ?? 0) << 8)
    return digits.charAt((pair >> (bit & 7)) & 31)
  }).join('')
}
