import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Session } from './session.js'

const blockBytes = 512

/** Writes a text to the beginning of a disk that no guest uses. */
export async function writeDisk(session: Session, disk: string, text: string): Promise<void> {
  const file = join(session.folder, 'block')
  writeFileSync(file, Buffer.concat([Buffer.from(text), Buffer.alloc(blockBytes)]).subarray(0, blockBytes))
  await session.program(['qemu-io', '-f', 'qcow2', '-c', `write -s ${file} 0 ${blockBytes}`, disk])
}

/** Reads the text at the beginning of a disk that no guest uses. */
export async function readDisk(session: Session, disk: string): Promise<string> {
  const dump = await session.program(['qemu-io', '-f', 'qcow2', '-r', '-c', `read -v 0 ${blockBytes}`, disk])
  const bytes = [...dump.matchAll(/^[\da-f]{8}: +((?:[\da-f]{2} )+)/gm)].flatMap(([, hex = '']) =>
    hex.trim().split(' '),
  )
  return Buffer.from(bytes.join(''), 'hex').toString().replaceAll('\0', '')
}
