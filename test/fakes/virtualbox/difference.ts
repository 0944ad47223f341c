import { closeSync, openSync, readSync, writeSync } from 'node:fs'

/** The two UUIDs that VirtualBox keeps in the file of a differencing image, and the image's size. */
export interface Difference {
  readonly uuid: string
  readonly parent: string
  readonly bytes: number
}

const firstCluster = 65_536
/** Type of the stand-in's header extension; QEMU keeps unknown extensions. */
const ownPart = 0x56424f58

/** Writes an image's UUID and its parent's UUID into the qcow2 file of the differencing image. */
export function markDifference(path: string, uuid: string, parent: string): void {
  const file = openSync(path, 'r+')
  try {
    const cluster = Buffer.alloc(firstCluster)
    readSync(file, cluster, 0, firstCluster, 0)
    const own = Buffer.alloc(8 + 32)
    own.writeUInt32BE(ownPart, 0)
    own.writeUInt32BE(32, 4)
    own.write(`${uuid}${parent}`.replaceAll('-', ''), 8, 'hex')
    const start = cluster.readUInt32BE(100)
    const { end, known } = partsOf(cluster)
    const others = known.filter(({ type }) => type !== ownPart).map(({ bytes }) => bytes)
    const nameOffset = Number(cluster.readBigUInt64BE(8))
    const name = cluster.subarray(nameOffset, nameOffset + cluster.readUInt32BE(16))
    const parts = Buffer.concat([own, ...others, Buffer.alloc(8)])
    const fresh = Buffer.alloc(firstCluster)
    cluster.copy(fresh, 0, 0, start)
    parts.copy(fresh, start)
    name.copy(fresh, start + parts.length)
    fresh.writeBigUInt64BE(BigInt(start + parts.length), 8)
    if (end + own.length + name.length > firstCluster) throw new Error(`${path} has no room for its UUID`)
    writeSync(file, fresh, 0, firstCluster, 0)
  } finally {
    closeSync(file)
  }
}

/** Reads the UUIDs of a differencing image; undefined for any other file. */
export function readDifference(path: string): Difference | undefined {
  const file = openSync(path, 'r')
  try {
    const cluster = Buffer.alloc(firstCluster)
    if (readSync(file, cluster, 0, firstCluster, 0) < 512 || cluster.readUInt32BE(0) !== 0x514649fb) {
      return undefined
    }
    const own = partsOf(cluster).known.find(({ type }) => type === ownPart)
    if (own === undefined) return undefined
    const names = own.bytes.subarray(8).toString('hex')
    const bytes = Number(cluster.readBigUInt64BE(24))
    return { uuid: dashed(names.slice(0, 32)), parent: dashed(names.slice(32)), bytes }
  } finally {
    closeSync(file)
  }
}

function dashed(hex: string): string {
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

/** Returns the extensions of a qcow2 header, and the offset of their end. */
function partsOf(cluster: Buffer): { known: { type: number; bytes: Buffer }[]; end: number } {
  const known: { type: number; bytes: Buffer }[] = []
  let offset = cluster.readUInt32BE(100)
  while (offset + 8 <= firstCluster) {
    const type = cluster.readUInt32BE(offset)
    if (type === 0) break
    const length = 8 + Math.ceil(cluster.readUInt32BE(offset + 4) / 8) * 8
    known.push({ type, bytes: Buffer.from(cluster.subarray(offset, offset + length)) })
    offset += length
  }
  return { known, end: offset + 8 }
}
