import { closeSync, openSync, readSync } from 'node:fs'

const signature = { at: 64, value: 0xbeda107f }
const sizeAt = 368
const headerBytes = 400
const mebibyte = 1024 ** 2

/**
 * Returns the guest's size of a VDI file in bytes, rounded down to whole MiB as in VirtualBox. Returns undefined for
 * any other kind of file.
 */
export function vdiBytes(path: string): number | undefined {
  const header = Buffer.alloc(headerBytes)
  const file = openSync(path, 'r')
  try {
    if (readSync(file, header, 0, headerBytes, 0) < headerBytes) return undefined
  } finally {
    closeSync(file)
  }
  if (header.readUInt32LE(signature.at) !== signature.value) return undefined
  return Math.floor(Number(header.readBigUInt64LE(sizeAt)) / mebibyte) * mebibyte
}
