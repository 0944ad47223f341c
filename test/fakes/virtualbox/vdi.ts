import { execFileSync } from 'node:child_process'
import { chmodSync, closeSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs'

const mebibyte = 1024 * 1024
const mapOffset = mebibyte

/** The header of a VDI file: its size for the guest, its UUID, and the offsets of its parts. */
export interface Vdi {
  readonly bytes: number
  readonly uuid: string
  readonly mapOffset: number
  readonly dataOffset: number
  readonly blocks: number
  /** Whether all blocks are in order. QEMU can then read the file as a raw image at an offset. */
  readonly straight: boolean
}

/**
 * Creates an empty VDI file. All blocks are in order, as in a fixed image, but the file is sparse. QEMU reads the file
 * as a raw image, because QEMU cannot save a machine with an open VDI.
 */
export function createVdi(path: string, bytes: number, uuid: string): void {
  const file = openSync(path, 'wx', 0o600)
  try {
    writeFresh(file, bytes, uuid)
  } finally {
    closeSync(file)
  }
}

function writeFresh(file: number, bytes: number, uuid: string): void {
  const blocks = Math.ceil(bytes / mebibyte)
  const dataOffset = roundUp(mapOffset + 4 * blocks)
  const header = Buffer.alloc(512)
  header.write('<<< Oracle VirtualBox Disk Image >>>\n', 0)
  header.writeUInt32LE(0xbeda107f, 64)
  header.writeUInt32LE(0x00010001, 68)
  header.writeUInt32LE(400, 72)
  header.writeUInt32LE(1, 76)
  header.writeUInt32LE(mapOffset, 340)
  header.writeUInt32LE(dataOffset, 344)
  header.writeUInt32LE(512, 360)
  header.writeUInt32LE(mebibyte, 376)
  writeGuid(header, uuid, 392)
  putSize(header, bytes)
  const map = straightMap(0, blocks)
  writeSync(file, header, 0, header.length, 0)
  writeSync(file, map, 0, map.length, mapOffset)
  ftruncateSync(file, dataOffset + blocks * mebibyte)
}

function straightMap(from: number, to: number): Buffer {
  return Buffer.from(Uint32Array.from({ length: to - from }, (_, index) => from + index).buffer)
}

function putSize(header: Buffer, bytes: number): void {
  const blocks = Math.ceil(bytes / mebibyte)
  header.writeBigUInt64LE(BigInt(bytes), 368)
  header.writeUInt32LE(blocks, 384)
  header.writeUInt32LE(blocks, 388)
}

function roundUp(offset: number): number {
  return Math.ceil(offset / mebibyte) * mebibyte
}

/** Reads the header of a VDI file; undefined if the file is not a VDI. */
export function readVdi(path: string): Vdi | undefined {
  const file = openSync(path, 'r')
  try {
    const header = readHeader(file)
    if (header.length < 512 || header.readUInt32LE(64) !== 0xbeda107f) return undefined
    return {
      bytes: Number(header.readBigUInt64LE(368)),
      uuid: readGuid(header, 392),
      ...places(file, header),
    }
  } finally {
    closeSync(file)
  }
}

function places(file: number, header: Buffer): Pick<Vdi, 'mapOffset' | 'dataOffset' | 'blocks' | 'straight'> {
  const blocks = header.readUInt32LE(384)
  const offset = header.readUInt32LE(340)
  const map = Buffer.alloc(4 * blocks)
  readSync(file, map, 0, map.length, offset)
  const straight = map.equals(straightMap(0, blocks))
  return { mapOffset: offset, dataOffset: header.readUInt32LE(344), blocks, straight }
}

function readHeader(file: number): Buffer {
  const header = Buffer.alloc(512)
  return header.subarray(0, readSync(file, header, 0, 512, 0))
}

/** Gives a VDI file another UUID. */
export function setVdiUuid(path: string, uuid: string): void {
  changeHeader(path, (header) => writeGuid(header, uuid, 392))
}

function changeHeader(path: string, change: (header: Buffer, file: number) => void): void {
  const file = openSync(path, 'r+')
  try {
    const header = readHeader(file)
    change(header, file)
    writeSync(file, header, 0, header.length, 0)
  } finally {
    closeSync(file)
  }
}

/** Copies a VDI file, and gives the copy another UUID. */
export function copyVdi(from: string, to: string, uuid: string): void {
  execFileSync('cp', ['--sparse=always', '--reflink=auto', '--no-clobber', from, to])
  // The copy is writable, even if the original is read-only.
  chmodSync(to, 0o600)
  setVdiUuid(to, uuid)
}

/** Grows a VDI file in place; returns false if the layout of the file prevents the growth. */
export function growVdi(path: string, bytes: number): boolean {
  const vdi = readVdi(path)
  if (vdi === undefined || !vdi.straight) return false
  const blocks = Math.ceil(bytes / mebibyte)
  if (vdi.mapOffset + 4 * blocks > vdi.dataOffset) return false
  changeHeader(path, (header, file) => {
    const more = straightMap(vdi.blocks, blocks)
    writeSync(file, more, 0, more.length, vdi.mapOffset + 4 * vdi.blocks)
    putSize(header, bytes)
    ftruncateSync(file, vdi.dataOffset + blocks * mebibyte)
  })
  return true
}

/** Creates a VDI file from a raw image; blocks of zeroes stay holes. */
export function vdiFromRaw(raw: string, path: string, uuid: string): void {
  const source = openSync(raw, 'r')
  const target = openSync(path, 'wx', 0o600)
  try {
    const bytes = fstatSync(source).size
    writeFresh(target, bytes, uuid)
    const blocks = Math.ceil(bytes / mebibyte)
    const dataOffset = roundUp(mapOffset + 4 * blocks)
    const zeroes = Buffer.alloc(mebibyte)
    const content = Buffer.alloc(mebibyte)
    for (let block = 0; block < blocks; block += 1) {
      const length = readSync(source, content, 0, mebibyte, block * mebibyte)
      if (content.compare(zeroes, 0, length, 0, length) === 0) continue
      writeSync(target, content, 0, length, dataOffset + block * mebibyte)
    }
  } finally {
    closeSync(source)
    closeSync(target)
  }
}

/** Writes a UUID as Windows stores it: the first three groups are little-endian. */
function writeGuid(header: Buffer, uuid: string, offset: number): void {
  const bytes = Buffer.from(uuid.replaceAll('-', ''), 'hex')
  swapped(bytes).copy(header, offset)
}

function readGuid(header: Buffer, offset: number): string {
  const text = swapped(header.subarray(offset, offset + 16)).toString('hex')
  return text.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

function swapped(bytes: Buffer): Buffer {
  const order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15]
  return Buffer.from(order.map((index) => bytes[index] ?? 0))
}
