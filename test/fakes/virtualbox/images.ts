import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, renameSync, rmSync, statSync, truncateSync } from 'node:fs'
import { dirname, relative } from 'node:path'
import { unknown } from './answer.js'
import { markDifference, readDifference } from './difference.js'
import type { Medium } from './model.js'
import { copyVdi, createVdi, growVdi, readVdi, vdiFromRaw } from './vdi.js'

/**
 * The file of a new medium. QEMU cannot read a differencing VDI, so such a medium is a qcow2 file backed by its parent.
 * The file has the name that VirtualBox gives the medium.
 */
export type NewImage = Pick<Medium, 'path' | 'uuid' | 'format' | 'bytes'>

/** Returns the format in which QEMU reads a medium. */
export function qemuFormat({ format, parent, device }: Pick<Medium, 'format' | 'parent' | 'device'>): string {
  if (parent !== undefined) return 'qcow2'
  if (device === 'dvd') return 'raw'
  const known: Readonly<Record<string, string>> = { VDI: 'vdi', VMDK: 'vmdk', VHD: 'vpc', RAW: 'raw' }
  const found = known[format]
  if (found === undefined) throw unknown(`images in the format ${format}`)
  return found
}

export function qemuImage(...words: string[]): void {
  execFileSync('qemu-img', words, { stdio: ['ignore', 'ignore', 'pipe'] })
}

export function createImage({ path, uuid, format, bytes }: NewImage): void {
  mkdirSync(dirname(path), { recursive: true })
  if (format === 'VDI') createVdi(path, bytes, uuid)
  else
    qemuImage(
      'create',
      '-q',
      '-f',
      qemuFormat({ format, parent: undefined, device: 'hdd' }),
      path,
      String(bytes),
    )
}

/** Creates a medium for the differences from its parent, which a running machine may have open. */
export function createDifference(path: string, uuid: string, parent: Medium): void {
  mkdirSync(dirname(path), { recursive: true })
  const backing = ['-u', '-F', qemuFormat(parent), '-b', seenFrom(path, parent)]
  qemuImage('create', '-q', '-f', 'qcow2', ...backing, path, String(parent.bytes))
  markDifference(path, uuid, parent.uuid)
}

/**
 * Returns the path from a medium to its parent. A parent in the machine's folder has a relative path, because it moves
 * with this folder.
 */
function seenFrom(child: string, parent: Medium): string {
  const folder = dirname(child).replace(/\/Snapshots$/, '')
  return parent.path.startsWith(`${folder}/`) ? relative(dirname(child), parent.path) : parent.path
}

/** Writes the differences into the parent. */
export function mergeIntoParent(child: Medium): void {
  qemuImage('commit', '-q', '-f', 'qcow2', child.path)
}

/** Gives a medium another parent and keeps its content; `onlyName` changes only the reference to the parent. */
export function changeParent(child: Medium, parent: Medium, onlyName = false): void {
  const unsafe = onlyName ? ['-u'] : []
  qemuImage(
    'rebase',
    '-q',
    '-f',
    'qcow2',
    ...unsafe,
    '-F',
    qemuFormat(parent),
    '-b',
    seenFrom(child.path, parent),
    child.path,
  )
}

/** Copies a medium with the content of all its parents. */
export function cloneImage(source: Medium, target: NewImage): void {
  mkdirSync(dirname(target.path), { recursive: true })
  const from = qemuFormat(source)
  if (target.format === 'VDI' && from === 'vdi') {
    copyVdi(source.path, target.path, target.uuid)
  } else if (target.format === 'VDI') {
    const raw = `${target.path}.raw`
    try {
      qemuImage('convert', '-q', '-f', from, '-O', 'raw', source.path, raw)
      vdiFromRaw(raw, target.path, target.uuid)
    } finally {
      rmSync(raw, { force: true })
    }
  } else {
    const to = qemuFormat({ format: target.format, parent: undefined, device: 'hdd' })
    qemuImage('convert', '-q', '-f', from, '-O', to, source.path, target.path)
  }
}

/** Grows a medium; returns false for formats such as VMDK, where VirtualBox reports success and does nothing. */
export function growImage(medium: Medium, bytes: number): boolean {
  const format = qemuFormat(medium)
  if (format === 'qcow2') {
    qemuImage('resize', '-q', '-f', 'qcow2', medium.path, String(bytes))
    return true
  }
  if (format !== 'vdi') return false
  if (growVdi(medium.path, bytes)) return true
  const raw = `${medium.path}.raw`
  try {
    qemuImage('convert', '-q', '-f', format, '-O', 'raw', medium.path, raw)
    truncateSync(raw, bytes)
    rmSync(medium.path)
    vdiFromRaw(raw, medium.path, medium.uuid)
    return true
  } finally {
    rmSync(raw, { force: true })
  }
}

export type Probed = Pick<Medium, 'bytes' | 'format' | 'parent'> & { readonly uuid: string | undefined }

/** Returns the facts of a file opened as a medium; undefined if the file is not a VirtualBox disk. */
export function probeImage(path: string): Probed | undefined {
  const vdi = readVdi(path)
  if (vdi !== undefined) return { bytes: vdi.bytes, uuid: vdi.uuid, format: 'VDI', parent: undefined }
  const difference = readDifference(path)
  if (difference !== undefined) return { ...difference, format: 'VDI' }
  if (!path.endsWith('.vmdk') && !path.endsWith('.vhd')) return undefined
  const told: { 'virtual-size': number; format: string } = JSON.parse(
    execFileSync('qemu-img', ['info', '--output=json', path], { encoding: 'utf8' }),
  )
  const format = { vmdk: 'VMDK', vpc: 'VHD' }[told.format]
  if (format === undefined) return undefined
  return { bytes: told['virtual-size'], uuid: undefined, format, parent: undefined }
}

/**
 * Rewrites a VDI of another program so that its blocks are in order. Otherwise a machine with this VDI could not be
 * saved.
 */
export function straighten({ path, format, parent }: Medium): void {
  const vdi = format === 'VDI' && parent === undefined ? readVdi(path) : undefined
  if (vdi === undefined || vdi.straight) return
  const [raw, draft] = [`${path}.${process.pid}.raw`, `${path}.${process.pid}.vdi`]
  try {
    qemuImage('convert', '-q', '-U', '-f', 'vdi', '-O', 'raw', path, raw)
    vdiFromRaw(raw, draft, vdi.uuid)
    chmodSync(draft, statSync(path).mode)
    renameSync(draft, path)
  } finally {
    for (const each of [raw, draft]) rmSync(each, { force: true })
  }
}

/** Returns the bytes that a medium takes on disk; a dynamic image grows with the written data. */
export function bytesOnDisk({ path, format, parent, variant, bytes }: Medium): number {
  if (!existsSync(path)) return 0
  const { size, blocks } = statSync(path)
  if (format !== 'VDI' || parent !== undefined) return size
  return 2 * 1024 * 1024 + (variant === 'fixed' ? bytes : blocks * 512)
}
