import { readFile, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import { errnoOf } from '../../core/file-failure.js'

/** Parts of a system that only a boot changes. */
export const bootParts = ['kernel', 'initrd', 'kernel-modules', 'systemd'] as const

/** Facts of a system. */
export interface SystemFacts {
  /** Version such as `24.11.20241128.abcdef`; `undefined` if the system has no version file. */
  readonly version: string | undefined
  /** Store path of each part that only a boot changes, where the system has that part. */
  readonly parts: ReadonlyMap<string, string>
  /** Values whose change forbids a switch, by name (nixpkgs since 25.11). */
  readonly inhibitors: ReadonlyMap<string, string>
}

const storeDir = '/nix/store/'

/** Reads a system in the operator's store; `folder` is the place of the system on this host. */
export async function readSystem(folder: string): Promise<SystemFacts> {
  const storeRoot = folder.slice(0, folder.lastIndexOf(storeDir))
  const parts = new Map<string, string>()
  for (const part of bootParts) {
    const place = await placeOf(join(folder, part), storeRoot)
    if (place !== undefined) parts.set(part, place)
  }
  return {
    version: (await textOf(join(folder, 'nixos-version')))?.trim() || undefined,
    parts,
    inhibitors: readInhibitors(await textOf(join(folder, 'switch-inhibitors'))),
  }
}

/** Reads the names and values of inhibitors; returns an empty map for an unknown format. */
export function readInhibitors(text: string | undefined): ReadonlyMap<string, string> {
  try {
    const parsed: unknown = JSON.parse(text ?? '{}')
    if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) return new Map()
    return new Map(
      Object.entries(parsed).flatMap(([name, value]) => (typeof value === 'string' ? [[name, value]] : [])),
    )
  } catch {
    return new Map()
  }
}

/** Longest chain of links that is followed. */
const maxLinks = 20

/** Follows a link within a store that may lie below another root folder; returns the path as the machine has it. */
async function placeOf(path: string, storeRoot: string): Promise<string | undefined> {
  let at = path
  for (let links = 0; links < maxLinks; links += 1) {
    const target = await unlessMissing(readlink(at), ['EINVAL'])
    if (target === undefined) return (await exists(at)) ? at.slice(storeRoot.length) : undefined
    at = target.startsWith('/') ? `${storeRoot}${target}` : join(at, '..', target)
  }
  return undefined
}

async function exists(path: string): Promise<boolean> {
  const { access } = await import('node:fs/promises')
  return access(path).then(
    () => true,
    () => false,
  )
}

function textOf(path: string): Promise<string | undefined> {
  return unlessMissing(readFile(path, 'utf8'), [])
}

/** Returns `undefined` for a missing file, and for the error codes in `also`. */
async function unlessMissing<T>(work: Promise<T>, also: readonly string[]): Promise<T | undefined> {
  try {
    return await work
  } catch (error) {
    const code = errnoOf(error)
    if (code !== undefined && ['ENOENT', 'ENOTDIR', ...also].includes(code)) return undefined
    throw error
  }
}
