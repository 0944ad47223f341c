import { createHash } from 'node:crypto'
import {
  closeSync,
  constants,
  createReadStream,
  createWriteStream,
  openSync,
  readSync,
  statSync,
} from 'node:fs'
import { copyFile } from 'node:fs/promises'
import { Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import * as z from 'zod'
import type { LocalCommands } from '../core/context.js'
import { withDeadline } from '../core/deadline.js'
import { failure, messageOf, throwIfAborted, usageError } from '../core/errors.js'
import { onAbort } from '../core/on-abort.js'
import type { Run } from '../core/run.js'

/** An image that hydra-ops did not build. */
export type ForeignReference =
  | { readonly kind: 'path'; readonly path: string }
  | { readonly kind: 'url'; readonly url: string; readonly sha256: string }

/** Time limits for a slow connection: hours in total, but a connection without any data ends earlier. */
const downloadTimes = { downloadMs: 6 * 60 * 60_000, stalledMs: 60_000 }

/** Parses `/absolute/path`, or `https://…#sha256=HEX`; returns undefined for a name. */
export function parseForeign(reference: string): ForeignReference | undefined {
  if (reference.startsWith('/')) return { kind: 'path', path: reference }
  if (!/^https?:\/\//.test(reference)) return undefined
  const [, url, sha256] = /^(.*)#sha256=([0-9a-f]{64})$/.exec(reference) ?? []
  if (url !== undefined && sha256 !== undefined) return { kind: 'url', url, sha256 }
  throw usageError(`base image ${reference} needs a SHA-256, because the image comes from a URL`, {
    hint: 'append #sha256= and 64 lowercase hexadecimal digits to the URL',
  })
}

/** Returns a file's path, size and time, which identify an imported file later; any difference means another image. */
export function lookOf(path: string): { path: string; size: number; mtimeMs: number } {
  try {
    const { size, mtimeMs } = statSync(path)
    return { path, size, mtimeMs }
  } catch (error) {
    throw usageError(`cannot read base image ${path}: ${messageOf(error)}`, { cause: error })
  }
}

/** Copies a file and returns its SHA-256. The copy shares blocks if the file system can do so. */
export async function importFile(from: string, to: string, run: Run): Promise<string> {
  run.log(`copying ${from}`)
  await copyFile(from, to, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL)
  throwIfAborted(run.signal)
  const hash = createHash('sha256')
  await pipeline(createReadStream(to), hash, { signal: run.signal })
  return hash.digest('hex')
}

/** Downloads a URL into a file; throws an error unless the content has the SHA-256. */
export async function download(
  image: { readonly url: string; readonly sha256: string },
  to: string,
  run: Run,
  { downloadMs, stalledMs } = downloadTimes,
): Promise<void> {
  const what = `download ${image.url}`
  run.log(`downloading ${image.url}`)
  const stalled = new AbortController()
  const hash = createHash('sha256')
  let watchdog = setTimeout(() => stalled.abort(), stalledMs)
  const meter = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      clearTimeout(watchdog)
      watchdog = setTimeout(() => stalled.abort(), stalledMs)
      hash.update(chunk)
      done(null, chunk)
    },
  })
  const stopListening = onAbort(run.signal, () => stalled.abort())
  const deadline = withDeadline(stalled.signal, downloadMs)
  const { signal } = deadline
  try {
    const response = await fetch(image.url, { signal, redirect: 'follow' })
    if (!response.ok || response.body === null) {
      throw failure(
        'DOWNLOAD',
        `cannot ${what}: the server answered ${response.status} ${response.statusText}`,
      )
    }
    const file = createWriteStream(to, { flags: 'wx' })
    await pipeline(Readable.fromWeb(response.body), meter, file, { signal })
  } catch (error) {
    throwIfAborted(run.signal)
    if (deadline.expired()) {
      throw failure('DOWNLOAD', `cannot ${what}: the download did not end within ${downloadMs / 1000} s`, {
        hint: 'download the file by other means, and use its absolute path as the image',
      })
    }
    if (stalled.signal.aborted)
      throw failure('DOWNLOAD', `cannot ${what}: the server sent nothing for ${stalledMs / 1000} s`)
    throw asDownloadFailure(what, error)
  } finally {
    clearTimeout(watchdog)
    stopListening()
    deadline.stop()
  }
  const seen = hash.digest('hex')
  if (seen === image.sha256) return
  throw failure('DOWNLOAD', `cannot ${what}: the file has the SHA-256 ${seen} instead of ${image.sha256}`, {
    hint: "the file may have changed; compare its SHA-256 with the publisher's",
  })
}

function asDownloadFailure(what: string, error: unknown): Error {
  if (error instanceof Error && error.name === 'OpsError') return error
  // fetch hides the reason (ENOTFOUND, ECONNREFUSED) in the cause.
  const cause = error instanceof Error && error.cause instanceof Error ? `: ${error.cause.message}` : ''
  return failure('DOWNLOAD', `cannot ${what}: ${messageOf(error)}${cause}`, { cause: error })
}

const QemuImgInfo = z.object({
  format: z.string(),
  'virtual-size': z.number().int().positive(),
  'backing-filename': z.string().optional(),
  'format-specific': z
    .object({ data: z.object({ 'data-file': z.string().optional() }).optional() })
    .optional(),
})

/** The first bytes of packed files, which QEMU would wrongly take for a raw disk. */
const packed: readonly { readonly magic: string; readonly name: string }[] = [
  { magic: '1f8b', name: 'gzip' },
  { magic: 'fd377a585a00', name: 'xz' },
  { magic: '28b52ffd', name: 'zstd' },
  { magic: '425a68', name: 'bzip2' },
  { magic: '504b0304', name: 'zip' },
]

/** Returns the format and size of a disk image; refuses an image that refers to other files of this host. */
export async function examine(
  local: Pick<LocalCommands, 'run'>,
  file: string,
  name: string,
  run: Run,
): Promise<{ format: 'qcow2' | 'raw'; virtualBytes: number }> {
  const magic = firstBytes(file, 8)
  const packing = packed.find((known) => magic.startsWith(known.magic))
  if (packing !== undefined) {
    throw usageError(`base image ${name} is compressed with ${packing.name}`, {
      hint: 'decompress the image, and use the result as the image',
    })
  }
  const what = `inspect image ${name}`
  const result = await local.run(['qemu-img', 'info', '--output=json', file], {
    signal: run.signal,
    timeoutMs: 60_000,
    what,
  })
  if (result.kind !== 'exited' || result.code !== 0) {
    throw usageError(`qemu-img cannot read base image ${name}`, { detail: result.stderr.trim() })
  }
  const info = QemuImgInfo.parse(JSON.parse(result.stdout))
  const { format } = info
  if (format !== 'qcow2' && format !== 'raw') {
    throw usageError(`base image ${name} has the format ${format}, but hydra-ops needs qcow2 or raw`, {
      hint: `convert the image: qemu-img convert -O qcow2 ${name} image.qcow2`,
    })
  }
  const other = info['backing-filename'] ?? info['format-specific']?.data?.['data-file']
  if (other !== undefined) {
    throw usageError(`base image ${name} is not complete, because the image needs ${other}`, {
      hint: `convert the image: qemu-img convert -O qcow2 ${name} image.qcow2`,
    })
  }
  return { format, virtualBytes: info['virtual-size'] }
}

function firstBytes(file: string, count: number): string {
  const descriptor = openSync(file, 'r')
  try {
    const bytes = Buffer.alloc(count)
    readSync(descriptor, bytes, 0, count, 0)
    return bytes.toString('hex')
  } finally {
    closeSync(descriptor)
  }
}
