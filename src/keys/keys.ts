import { readFile } from 'node:fs/promises'
import { posix } from 'node:path'
import type { LocalCommands } from '../core/context.js'
import type { DebianMachine, MachineDefinition } from '../core/definition.js'
import { failure, usageError } from '../core/errors.js'
import type { KeyDefinition } from '../core/key-definition.js'
import { keyUnitName } from '../core/key-unit-name.js'
import type { PlanItem } from '../core/plan.js'
import type { Run } from '../core/run.js'
import { settleAll } from '../core/settle.js'
import { checkEach } from '../core/several-errors.js'

/** A key with a known destination, and with known content unless its command has not run. */
export interface ResolvedKey {
  /** Name in `deployment.keys`. */
  readonly name: string
  readonly path: string
  readonly user: string
  readonly group: string
  readonly mode: number
  readonly uploadAt: KeyDefinition['uploadAt']
  /** Operating system of the key's machine. */
  readonly os: MachineDefinition['os']
  /** Content; `undefined` if a dry run did not run the `keyCommand`. Never logged. */
  readonly content: Uint8Array | undefined
}

/** State of a key on the machine. */
export interface SeenKey {
  readonly key: ResolvedKey
  readonly state: 'same' | 'missing' | 'differs' | 'metadata differs' | 'unknown'
  /** Whether the key's unit differs from the wanted unit. */
  readonly unitDiffers: boolean
  /** Whether the key's folder keeps the key's owner out; false for a folder that hydra-ops did not create. */
  readonly shut: boolean
  /** Phrase for the user or group that the machine lacks: `no user 'app'`. */
  readonly missingOwner: string | undefined
}

export function isFine({ state, unitDiffers, shut }: SeenKey): boolean {
  return state === 'same' && !unitDiffers && !shut
}

/** Deadline for a key's command, long enough for a password store that queries a server. */
const keyCommandMs = 120_000

/** Linux's limit for one component of a path. */
const nameMaxBytes = 255

/** Machine with keys; a Debian machine may also define units. */
type Machine = Pick<MachineDefinition, 'name' | 'options' | 'os'> & Partial<Pick<DebianMachine, 'units'>>

/** Output or failure of key commands for one machine in this run, by the key's name, kept in memory only. */
export type KeyTexts = Map<string, Promise<Uint8Array>>

interface Resolving {
  readonly local: Pick<LocalCommands, 'run'>
  readonly runCommands: boolean
  readonly run: Run
  readonly known: KeyTexts
}

/**
 * Reads the content of the machine's keys. Runs no command if `runCommands` is false, and runs each command only once
 * for the same `known`. A command may ask a person, or return a different one-time secret each time.
 */
export async function resolveKeys(machine: Machine, options: Resolving): Promise<ResolvedKey[]> {
  checkKeys(machine)
  const entries = Object.entries(machine.options.keys)
  return settleAll(
    entries.map(async ([name, key]) => ({
      name,
      path: keyPath(name, key),
      user: key.user,
      group: key.group,
      mode: Number.parseInt(key.permissions, 8),
      uploadAt: key.uploadAt,
      os: machine.os,
      content: await contentOf(machine, name, key, options),
    })),
  )
}

/** Refuses keys that cannot be delivered, before anything is touched. */
export function checkKeys(machine: Machine): void {
  const taken = new Map<string, string>()
  checkEach(Object.entries(machine.options.keys), ([name, key]) => {
    const refuse = (why: string) => usageError(`${label(machine, name)}: ${why}`, { machine: machine.name })
    const file = key.name ?? name
    const sources = [key.text, key.keyFile, key.keyCommand].filter((source) => source != null)
    if (sources.length !== 1) throw refuse('give exactly one of text, keyFile and keyCommand')
    if (/[/\0]/.test(name)) throw refuse('a name with "/" is not allowed')
    if (/[/\0]/.test(file) || file === '.' || file === '..' || Buffer.byteLength(file) > nameMaxBytes) {
      throw refuse(`${JSON.stringify(file)} is not a valid file name`)
    }
    const path = keyPath(name, key)
    if (/\0/.test(path)) throw refuse('destDir is not a valid path')
    const other = taken.get(path)
    if (other !== undefined) throw refuse(`key ${JSON.stringify(other)} has the same destination ${path}`)
    taken.set(path, name)
    const unit = keyUnitName(name)
    if (unit !== undefined && Object.hasOwn(machine.units ?? {}, unit)) {
      throw refuse(`its unit would be ${unit}, which deployment.units defines too`)
    }
  })
}

/** Returns the path of a key on the machine. */
export function keyPath(name: string, key: KeyDefinition): string {
  return posix.join(key.destDir, key.name ?? name)
}

async function contentOf(
  machine: Machine,
  name: string,
  key: KeyDefinition,
  options: Resolving,
): Promise<Uint8Array | undefined> {
  if (key.text != null) return Buffer.from(key.text)
  if (key.keyFile != null) return readKeyFile(machine, name, key.keyFile)
  if (key.keyCommand == null || !options.runCommands) return undefined
  const text = options.known.get(name) ?? runKeyCommand(machine, name, key.keyCommand, options)
  options.known.set(name, text)
  return text
}

async function readKeyFile(machine: Machine, name: string, file: string): Promise<Uint8Array> {
  try {
    return await readFile(file)
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    const why = code === 'ENOENT' ? 'does not exist' : `cannot be read (${code})`
    throw usageError(`${label(machine, name)}: keyFile ${file} ${why}`, { machine: machine.name })
  }
}

/**
 * Uses the command's output as the key, byte for byte. Hides its stderr, because some tools print secrets there too.
 */
async function runKeyCommand(
  machine: Machine,
  name: string,
  argv: readonly string[],
  options: Resolving,
): Promise<Uint8Array> {
  const what = `${label(machine, name)}: keyCommand`
  const result = await options.local.run(argv, {
    signal: options.run.signal,
    timeoutMs: keyCommandMs,
    what,
    encoding: 'latin1',
    stderr: 'hidden',
  })
  if (result.kind === 'exited' && result.code === 0) return Buffer.from(result.stdout, 'latin1')
  const end = result.kind === 'exited' ? `ended with status ${result.code}` : 'did not exit normally'
  throw failure('KEY_COMMAND', `${what} '${argv[0]}' ${end}`, {
    machine: machine.name,
    hint: "run the command by hand to see why; hydra-ops hides the command's messages, because they may contain secrets",
  })
}

function label(machine: Machine, name: string): string {
  return `machine '${machine.name}': key ${JSON.stringify(name)}`
}

/** Keys that were delivered and are no longer wanted. */
export interface DroppedKeys {
  /** Destinations that no longer belong to a key. */
  readonly paths: readonly string[]
  /** Names whose units are no longer needed. */
  readonly names: readonly string[]
}

export function droppedKeys(
  recorded: Readonly<Record<string, string>>,
  wanted: readonly Pick<ResolvedKey, 'name' | 'path'>[],
): DroppedKeys {
  const paths = new Set(wanted.map((key) => key.path))
  const names = new Set(wanted.map((key) => key.name))
  return {
    paths: [...new Set(Object.values(recorded))].filter((path) => !paths.has(path)),
    names: Object.keys(recorded).filter((name) => !names.has(name) && !isMovedPath(name)),
  }
}

/**
 * Returns the record for the time of delivery: the wanted keys, and keys that are still to be removed. A moved key
 * keeps its old path in the record. The name of that entry is the path itself, which no key can have as its name.
 */
export function recordWhileDelivering(
  recorded: Readonly<Record<string, string>>,
  wanted: readonly Pick<ResolvedKey, 'name' | 'path'>[],
): Record<string, string> {
  const record = { ...recorded }
  for (const key of wanted) {
    const before = record[key.name]
    if (before !== undefined && before !== key.path) record[before] = before
    record[key.name] = key.path
  }
  return record
}

/** Recognizes an entry for an old path (see `recordWhileDelivering`). */
function isMovedPath(name: string): boolean {
  return name.startsWith('/')
}

/** Returns the record for the time after all keys are delivered and removed. */
export function recordOfKeys(wanted: readonly Pick<ResolvedKey, 'name' | 'path'>[]): Record<string, string> {
  return Object.fromEntries(wanted.map((key) => [key.name, key.path]))
}

/** Plans the changes to keys; the plan is empty when all keys are as they should be. */
export function planKeys(
  seen: readonly (Omit<SeenKey, 'key'> & { readonly key: Pick<ResolvedKey, 'name' | 'path'> })[],
  recorded: Readonly<Record<string, string>>,
): PlanItem[] {
  const namesOf = (some: typeof seen) => some.map((each) => shown(each.key.name))
  const owned = seen.filter((each) => each.missingOwner === undefined)
  const named = (state: SeenKey['state']) => namesOf(owned.filter((each) => each.state === state))
  const same = seen.filter((each) => each.state === 'same')
  const wanted = seen.map((each) => each.key)
  const names = new Map(Object.entries(recorded).map(([name, path]) => [path, name]))
  const dropped = droppedKeys(recorded, wanted).paths.map((path) => shown(names.get(path) ?? path))
  return [
    ...item('add', named('missing')),
    ...item('replace', named('differs')),
    ...item('change', named('metadata differs'), 'owner, group or mode'),
    ...item('change', namesOf(same.filter((each) => each.unitDiffers)), 'the unit of the key'),
    ...item('change', namesOf(same.filter((each) => each.shut)), 'the folder must give its owner access'),
    ...item('replace', named('unknown'), 'the content is unknown until the deploy'),
    ...seen.filter((each) => each.missingOwner !== undefined).flatMap(unownedItem),
    ...item('remove', dropped),
  ]
}

function unownedItem({ key, state, missingOwner }: Parameters<typeof planKeys>[0][number]): PlanItem[] {
  return item(
    state === 'missing' ? 'add' : 'change',
    [shown(key.name)],
    `${missingOwner} yet; this deploy must create it`,
  )
}

function item(action: PlanItem['action'], names: readonly string[], note?: string): PlanItem[] {
  if (names.length === 0) return []
  return [{ subject: 'keys', action, detail: names.join(', '), ...(note === undefined ? {} : { note }) }]
}

/** Quotes an unusual name, so that it cannot break the plan's line. */
function shown(name: string): string {
  return /^[\w.@+/-]+$/.test(name) ? name : JSON.stringify(name)
}
