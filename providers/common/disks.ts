import { existsSync } from 'node:fs'
import { describeEnd } from '../../src/core/command-result.js'
import type { LocalCommands } from '../../src/core/context.js'
import { failure, type OpsError, usageError } from '../../src/core/errors.js'
import type { BaseImage } from '../../src/core/image.js'
import type { ResourceChange } from '../../src/core/provider.js'
import type { Run } from '../../src/core/run.js'
import { checkEach } from '../../src/core/several-errors.js'
import { shellQuote } from '../../src/core/shell-quote.js'
import { foreign } from './places.js'

const gibibyte = 1024 ** 3

/** Deadline for qemu-img, which creates an empty disk in milliseconds but takes longer on a busy host. */
const deadlineMs = 120_000

/** Files of a machine's disks. */
export interface MadeDisks {
  readonly disk: string
  /** Files of the data disks by name, including detached disks. */
  readonly extraDisks: Readonly<Record<string, string>>
}

export function allDisks(handle: MadeDisks): string[] {
  return [handle.disk, ...Object.values(handle.extraDisks)]
}

/** Refuses an existing file that has the name of a wanted disk but is missing from the machine's note. */
export function refuseForeignDisks(
  resource: { readonly machine: string },
  wanted: MadeDisks,
  noted: MadeDisks | undefined,
): void {
  const ours = new Set(noted === undefined ? [] : allDisks(noted))
  const stranger = allDisks(wanted).find((path) => !ours.has(path) && existsSync(path))
  if (stranger !== undefined) throw foreign(resource, `disk '${stranger}'`)
}

/** Runs qemu-img and returns its output. */
export async function qemuImg(
  local: Pick<LocalCommands, 'run'>,
  args: readonly string[],
  what: string,
  run: Run,
  timeoutMs = deadlineMs,
): Promise<string> {
  const result = await local.run(['qemu-img', ...args], {
    signal: run.signal,
    timeoutMs,
    what,
    env: { LC_ALL: 'C' },
  })
  if (result.kind === 'exited' && result.code === 0) return result.stdout
  const full = /No space left on device/.test(result.stderr)
  throw failure(full ? 'DISK_FULL' : 'DISK', `cannot ${what}: ${result.stderr.trim() || describeEnd(result)}`)
}

/** A data disk that was created but is missing now. */
export interface LostDisk {
  readonly name: string
  readonly path: string
}

export interface DisksLook {
  /** Names of the wanted data disks. */
  readonly wanted: readonly string[]
  /** Names of the data disks that were created. */
  readonly made: readonly string[]
  /** Files that the machine's definition attaches; undefined without a machine. */
  readonly attached: ReadonlySet<string> | undefined
}

/**
 * Lists wanted data disks that were created but are missing now. A machine with neither a definition nor a root
 * disk has nothing worth keeping, so all its disks are created.
 */
export function lostDisks(handle: MadeDisks | undefined, { wanted, made, attached }: DisksLook): LostDisk[] {
  if (handle === undefined || (attached === undefined && !existsSync(handle.disk))) return []
  return wanted.flatMap((name) => {
    const path = handle.extraDisks[name]
    if (path === undefined || existsSync(path)) return []
    return made.includes(name) || attached?.has(path) === true ? [{ name, path }] : []
  })
}

/** Advice in the plan about a missing file that can be restored. */
export const putBack = 'restore the file if you have a copy'

export function lostDiskItems(lost: readonly LostDisk[]): ResourceChange[] {
  return lost.map(({ name, path }) => ({
    action: 'recreate',
    detail: `disk ${name}: its file ${path} is gone; an empty disk takes its place`,
    needs: 'new-disk',
    hint: putBack,
  }))
}

/** Describes the loss of the root disk, which only a new machine fixes. */
export function lostRoot(disk: string): ResourceChange {
  return { action: 'recreate', detail: `the disk ${disk} is gone`, needs: 'recreate', hint: putBack }
}

/**
 * Returns the reason to recreate a machine whose root disk is lost. Only `--allow-recreate` may replace a lost
 * disk.
 */
export function lostRootReason(handle: MadeDisks | undefined, exists: boolean): string | undefined {
  if (!exists || handle === undefined || existsSync(handle.disk)) return undefined
  return `the disk ${handle.disk} is gone`
}

/** Advice for disks that cannot be restored. */
const recreates = 'hydra-ops deploy --allow-recreate, which loses all disks of the machine'
const fillsDisk = 'hydra-ops deploy --allow-recreate, which creates an empty disk instead'

/** Hint for a disk that was lost after the plan: the engine itself refuses losses in the plan. */
const needsRecreate = 'hydra-ops deploy --allow-recreate continues; the data on the disks is then lost'

interface Named {
  readonly name: string
  readonly machine: string
}

export function requireRecreate({ name, machine }: Named, why: string, allowed: boolean): void {
  if (allowed) return
  throw failure('NEEDS_RECREATE', `machine '${machine}' (${name}) must be recreated: ${why}`, {
    machine,
    hint: needsRecreate,
  })
}

export function refuseLostDisks({ name, machine }: Named, lost: readonly LostDisk[]): void {
  if (lost.length === 0) return
  const files = lost.map((disk) => `disk ${disk.name} ${disk.path}`).join(', ')
  throw failure('NEEDS_RECREATE', `machine '${machine}' (${name}): disk files are gone: ${files}`, {
    machine,
    hint: needsRecreate,
  })
}

/** A disk whose size differs from the wanted size. */
export interface SizeChange {
  readonly path: string
  /** Name in messages, such as `disk` or `disk data`. */
  readonly name: string
  readonly from: number
  readonly to: number
}

/** Lists the disks that must grow, and refuses to shrink a disk. */
export function sizeChanges(machine: string, sized: readonly SizeChange[]): SizeChange[] {
  checkEach(sized, ({ name, from, to }) => {
    if (to >= from) return
    throw usageError(`machine '${machine}': ${name} has ${gib(from)} and cannot shrink to ${gib(to)}`, {
      machine,
      hint: 'destroy the machine and deploy again if you need a smaller disk',
    })
  })
  return sized.filter(({ from, to }) => to > from)
}

export function sizeItems(changes: readonly SizeChange[], needs: ResourceChange['needs']): ResourceChange[] {
  return changes.map(({ name, from, to }) => ({
    action: 'change',
    detail: `${name} ${gib(from)} → ${gib(to)}`,
    needs,
  }))
}

export function gib(bytes: number): string {
  return `${Number((bytes / gibibyte).toFixed(1))} GiB`
}

/** Lists the disks that the definition gains and loses. `wanted` has a title for the path of each disk. */
export function attachmentChanges(had: ReadonlySet<string>, wanted: ReadonlyMap<string, string>): string[] {
  const added = [...wanted].filter(([path]) => !had.has(path)).map(([, title]) => `disk ${title} attached`)
  const removed = [...had]
    .filter((path) => !wanted.has(path))
    .map((path) => `disk ${path} detached (its file is kept)`)
  return [...added, ...removed]
}

/** Creates the error for a missing file that a start needs. */
export function missingFile(code: string, machine: string, what: string, hint: string): OpsError {
  return failure(code, `machine '${machine}': ${what}`, { machine, hint })
}

/** Throws if the file of an attached disk is gone. */
export function requireDisks(machine: string, handle: MadeDisks, attached: ReadonlySet<string>): void {
  const names = new Map(Object.entries(handle.extraDisks).map(([name, path]) => [path, `disk ${name}`]))
  const lost = allDisks(handle).filter((path) => attached.has(path) && !existsSync(path))
  const first = lost[0]
  if (first === undefined) return
  const files = lost.map((path) => `${names.get(path) ?? 'root disk'} ${path}`).join(', ')
  const cost = lost.includes(handle.disk) ? recreates : fillsDisk
  throw missingFile(
    'NO_DISK',
    machine,
    `disk files are gone: ${files}`,
    `restore the files if you have a copy; otherwise use ${cost}`,
  )
}

/**
 * Throws if the base image of a machine's disk is gone. `again` is the hint for an image that a deploy restores.
 */
export function requireBase(machine: string, image: BaseImage, again: string | undefined): void {
  if (existsSync(image.disk)) return
  const loss =
    `the base image ${image.disk} is gone, ` +
    "and the machine's disk holds only its differences from the image"
  const copy = `restore the image from a copy${madeAgain(image)}; otherwise use ${recreates}`
  throw missingFile('NO_BACKING_FILE', machine, loss, again ?? copy)
}

/**
 * Suggests how to restore an image. An image that is named by its content is the same after another fetch or
 * copy.
 */
function madeAgain({ id, reference }: BaseImage): string {
  return id.startsWith('sha256-') ? ` or with hydra-ops image build ${shellQuote(reference)}` : ''
}

/** Throws if a file with the machine's identity is gone. */
export function requireIdentity(machine: string, file: string | undefined): void {
  if (file === undefined || existsSync(file)) return
  throw missingFile(
    'NO_IDENTITY',
    machine,
    `the identity file ${file} is gone`,
    'hydra-ops deploy writes the file again',
  )
}

export const lostIdentity: ResourceChange = {
  action: 'change',
  detail: 'the identity files are gone; the deploy writes them again',
  needs: 'nothing',
}
