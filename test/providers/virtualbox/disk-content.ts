import { closeSync, openSync, readFileSync, readSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { parseMachine } from '../../../providers/virtualbox/machine-facts.js'
import { ancestorsOf, parseMedia } from '../../../providers/virtualbox/media.js'
import type { VirtualBoxResource } from '../../../providers/virtualbox/places.js'
import type { Session } from './session.js'
import { allocateBlock, blockAddress } from './vdi-block.js'

const textBytes = 512

/** Writes a text to the beginning of the attached disk of a machine that is off. */
export async function writeDisk(
  session: Session,
  resource: VirtualBoxResource,
  text: string,
  slot?: string,
): Promise<void> {
  const [file = ''] = await chainOf(session, resource, slot)
  const block = Buffer.alloc(textBytes)
  block.write(text)
  if (isQcow2(file)) {
    const source = join(session.folder, 'block')
    writeFileSync(source, block)
    await qemuIo(session, ['-f', 'qcow2', '-c', `write -s ${source} 0 ${textBytes}`, file])
    return
  }
  const fd = openSync(file, 'r+')
  try {
    writeSync(fd, block, 0, textBytes, blockAddress(fd) ?? allocateBlock(fd))
  } finally {
    closeSync(fd)
  }
}

/** Reads the text at the beginning of the attached disk of a machine that is off. */
export async function readDisk(
  session: Session,
  resource: VirtualBoxResource,
  slot?: string,
): Promise<string> {
  for (const file of await chainOf(session, resource, slot)) {
    if (isQcow2(file)) return qemuText(session, file)
    const fd = openSync(file, 'r')
    try {
      const address = blockAddress(fd)
      if (address === undefined) continue
      const block = Buffer.alloc(textBytes)
      readSync(fd, block, 0, textBytes, address)
      return block.toString().replaceAll('\0', '')
    } finally {
      closeSync(fd)
    }
  }
  return ''
}

/** Lists the disk file in a slot, and the files on which it is based. */
async function chainOf(session: Session, { handle }: VirtualBoxResource, slot = '0-0'): Promise<string[]> {
  const { attached } = parseMachine(await session.vbox('showvminfo', handle?.uuid ?? '', '--machinereadable'))
  const file = [...attached].find(([key]) => key.endsWith(`-${slot}`))?.[1]
  if (file === undefined) throw new Error(`nothing is attached at ${slot}`)
  return [file, ...ancestorsOf(file, parseMedia(await session.vbox('list', 'hdds')))]
}

/** Tells whether a file is a differencing disk of the stand-in, which has QEMU's format. */
function isQcow2(file: string): boolean {
  return readFileSync(file).subarray(0, 3).toString() === 'QFI'
}

async function qemuIo(session: Session, args: readonly string[]): Promise<string> {
  const what = 'look into a disk'
  const result = await session.local.run(['qemu-io', ...args], {
    signal: session.run.signal,
    timeoutMs: 60_000,
    what,
  })
  if (result.kind !== 'exited' || result.code !== 0) throw new Error(`${what}: ${result.stderr}`)
  return result.stdout
}

async function qemuText(session: Session, file: string): Promise<string> {
  const dump = await qemuIo(session, ['-f', 'qcow2', '-r', '-U', '-c', `read -v 0 ${textBytes}`, file])
  const bytes = [...dump.matchAll(/^[\da-f]{8}: +((?:[\da-f]{2} )+)/gm)].flatMap(([, hex = '']) =>
    hex.trim().split(' '),
  )
  return Buffer.from(bytes.join(''), 'hex').toString().replaceAll('\0', '')
}
