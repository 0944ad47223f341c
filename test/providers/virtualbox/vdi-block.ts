import { readSync, writeSync } from 'node:fs'

const at = { map: 340, data: 344, blockBytes: 376, extraBytes: 380, allocated: 388 } as const

function word(file: number, offset: number): number {
  const buffer = Buffer.alloc(4)
  readSync(file, buffer, 0, 4, offset)
  return buffer.readUInt32LE()
}

function putWord(file: number, offset: number, value: number): void {
  const buffer = Buffer.alloc(4)
  buffer.writeUInt32LE(value)
  writeSync(file, buffer, 0, 4, offset)
}

function addressOf(file: number, index: number): number {
  const extra = word(file, at.extraBytes)
  return word(file, at.data) + index * (word(file, at.blockBytes) + extra) + extra
}

/** Returns the address of a disk's first block in a VDI file, or undefined if that block does not exist. */
export function blockAddress(file: number): number | undefined {
  const index = word(file, word(file, at.map))
  return index >= 0xfffffffe ? undefined : addressOf(file, index)
}

/** Allocates an empty first block in a VDI file, and returns its address. */
export function allocateBlock(file: number): number {
  const index = word(file, at.allocated)
  const address = addressOf(file, index)
  const bytes = word(file, at.blockBytes)
  writeSync(file, Buffer.alloc(bytes), 0, bytes, address)
  putWord(file, word(file, at.map), index)
  putWord(file, at.allocated, index + 1)
  return address
}
