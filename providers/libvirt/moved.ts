import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { basename } from 'node:path'
import { movedPath, stateFolderOf } from '../../src/core/moved-paths.js'
import { type Move, moveSince, runsElsewhere } from '../common/moved.js'
import type { DomainFacts } from './domain-facts.js'
import { type DomainSpec, specDigest } from './domain-spec.js'
import type { LibvirtResource } from './places.js'

/** A domain with the current paths of its files, and the move of the state folder, if any. */
export interface PlacedFacts extends DomainFacts {
  readonly move: Move | undefined
}

/** Corrects the paths of a domain's files. The paths are absolute, and the state folder may have moved since. */
export function placedFacts(facts: DomainFacts, { deployment, disks }: LibvirtResource): PlacedFacts {
  const named = [facts.console, ...facts.disks.values()]
  const inState = named.find(
    (path) => path !== undefined && stateFolderOf(path, deployment.uuid) !== undefined,
  )
  const move = moveSince(inState, { deployment, disks })
  if (move === undefined) return { ...facts, move }
  const { from, to } = move
  const placed = [...facts.disks].map(([dev, path]) => [dev, movedPath(path, from, to)] as const)
  const credential = facts.credential === undefined ? undefined : movedPath(facts.credential, from, to)
  return { ...facts, disks: new Map(placed), credential, move }
}

/** Tells whether the domain was defined from this spec, possibly before a move of the state folder. */
export function isDefinedFrom({ mark, move }: PlacedFacts, spec: DomainSpec): boolean {
  if (mark?.spec === specDigest(spec)) return true
  if (move === undefined) return false
  const { from, to } = move
  return mark?.spec === specDigest(spec, (text) => movedPath(text, to, from))
}

/** Returns a domain's XML with current paths. */
export function movedXml(xml: string, { from, to }: Move): string {
  return xml.replaceAll(/(?<=['">])[^'"<>]+/g, (text) => {
    const path = unescaped(text)
    const there = movedPath(path, from, to)
    return there === path ? text : escaped(there)
  })
}

function unescaped(text: string): string {
  return text.replaceAll(
    /&(?:#x([\da-f]+)|#(\d+)|(lt|gt|apos|quot|amp));/gi,
    (entity, hex, decimal, name) => {
      if (name !== undefined) return named.get(entity) ?? entity
      const code = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16)
      return code > 0x10ffff ? entity : String.fromCodePoint(code)
    },
  )
}

const named: ReadonlyMap<string, string> = new Map([
  ['&lt;', '<'],
  ['&gt;', '>'],
  ['&apos;', "'"],
  ['&quot;', '"'],
  ['&amp;', '&'],
])

/** Escapes text, with line feeds and tabs as numbers; otherwise a parser would read them as spaces. */
function escaped(text: string): string {
  const names = new Map([...named].map(([entity, character]) => [character, entity]))
  return text.replaceAll(/[&<>'"\t\n\r]/g, (each) => names.get(each) ?? `&#${each.charCodeAt(0)};`)
}

/**
 * Refuses to continue with a guest whose open file differs from the state's file. The folder was copied, or moved
 * to another disk, and the guest's writes would otherwise be lost.
 */
export function refuseOtherFiles({ machine, handle }: LibvirtResource, files?: readonly OpenFile[]): void {
  if (handle === undefined) return
  const open = (files ?? openFiles(handle.uuid)).filter((file) =>
    basename(file.path).startsWith(basename(handle.disk)),
  )
  const wanted = statSync(handle.disk, { throwIfNoEntry: false })
  // Another user's QEMU does not show its files.
  const stranger = open[0]
  if (stranger === undefined || open.some(({ dev, ino }) => dev === wanted?.dev && ino === wanted?.ino))
    return
  throw runsElsewhere(machine, stranger.path, handle.disk)
}

/** Lists removed files that QEMU still has open. The guest's writes to these files are lost. */
export function removedFiles(open: readonly OpenFile[]): ReadonlySet<string> {
  const mark = ' (deleted)'
  return new Set(open.flatMap(({ path }) => (path.endsWith(mark) ? [path.slice(0, -mark.length)] : [])))
}

export interface OpenFile {
  readonly path: string
  readonly dev: number
  readonly ino: number
}

/** Lists the open files of a domain's QEMU process, which is found among all processes of this host. */
export function openFiles(uuid: string): OpenFile[] {
  const pid = readdirSync('/proc').find((name) => /^\d+$/.test(name) && argumentsOf(name).includes(uuid))
  if (pid === undefined) return []
  const folder = `/proc/${pid}/fd`
  return orNothing(() => readdirSync(folder)).flatMap((name) =>
    orNothing(() => {
      const { dev, ino } = statSync(`${folder}/${name}`)
      return [{ path: readlinkSync(`${folder}/${name}`), dev, ino }]
    }),
  )
}

/** Reads QEMU's arguments, which contain `-uuid` and its value. */
function argumentsOf(pid: string): string[] {
  return orNothing(() => {
    const [program = '', ...args] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
    return /qemu/.test(program) ? args : []
  })
}

/** Returns an empty list for a process that has ended, or belongs to another user. */
function orNothing<T>(look: () => T[]): T[] {
  try {
    return look()
  } catch {
    return []
  }
}
