import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type * as z from 'zod'
import {
  type DeploymentHead,
  type DeploymentRecord,
  type MachineRecord,
  type Machines,
  newMachines,
} from '../src/core/deployment.js'
import { OpsError } from '../src/core/errors.js'
import { errnoOf, fsFailure } from '../src/core/file-failure.js'
import { type DeploymentUuid, MachineName } from '../src/core/names.js'
import { restEvery } from '../src/core/rest.js'
import { severalErrors } from '../src/core/several-errors.js'
import { type Damage, refusal, type Unusable } from './damage.js'
import { migrate } from './migrations.js'
import {
  deploymentsFolder,
  fromStored,
  machineFiles,
  machinesOfFiles,
  mapSearchPath,
  stateFiles,
  toStored,
} from './paths.js'
import {
  compiledMachineFile,
  compiledUndividedState,
  dividedSince,
  MachineFile,
  StateFile,
  schemaVersion,
  UndividedState,
} from './schema.js'
import { presentHandle, storedHandle } from './stored-handle.js'

/** Number of machines from which the compiled schema is faster even for a single use. */
export const manyMachines = 300
/** Number of characters of an undivided state with that many machines. */
export const largeState = 300_000

/** A complete file, as it was read. */
export interface LoadedFile {
  readonly revision: number
  /** The bytes on the disk, which must still be the same before a write. */
  readonly text: string
}

/** The part of a state that concerns the deployment alone. */
export interface LoadedHead extends LoadedFile {
  readonly head: DeploymentHead
  /** All machines, if the file's schema still includes them. */
  readonly undivided: { readonly machines: Machines; readonly schema: number } | undefined
}

export interface LoadedMachine extends LoadedFile {
  readonly machine: MachineRecord
}

/** A complete deployment, as it was read. */
export interface LoadedState {
  readonly record: DeploymentRecord
  readonly head: LoadedHead
  /** The files of the machines; empty if the state is not divided yet. */
  readonly files: ReadonlyMap<MachineName, LoadedFile>
}

export type HeadRead =
  | ({ readonly kind: 'whole' } & LoadedHead)
  | { readonly kind: 'broken'; readonly error: OpsError; readonly backup: LoadedHead | undefined }

export type StateRead =
  | ({ readonly kind: 'whole' } & LoadedState)
  /** `backup` is the last good record, if one exists; only its name and ports are used. */
  | { readonly kind: 'broken'; readonly error: OpsError; readonly backup: DeploymentRecord | undefined }

/** Reads and validates the deployment's own part; writes and creates nothing. */
export function readHead(root: string, uuid: DeploymentUuid): HeadRead {
  const files = stateFiles(join(deploymentsFolder(root), uuid))
  const read = readFile(files.state, (text) => parseHead(root, uuid, text))
  if (read.kind === 'whole') return read
  const backup = readFile(files.backup, (text) => parseHead(root, uuid, text))
  const good = backup.kind === 'whole' ? backup : undefined
  const what = `the state of deployment ${good?.head.name === undefined ? uuid : `'${good.head.name}' (${uuid})`}`
  const damage: Damage = { what, file: files.state, backup: good === undefined ? undefined : files.backup }
  return { kind: 'broken', backup: good, error: refusal(damage, read) }
}

/** Reads and validates a deployment with its machines; writes and creates nothing. */
export async function readState(root: string, uuid: DeploymentUuid): Promise<StateRead> {
  const read = readHead(root, uuid)
  const head = read.kind === 'whole' ? read : read.backup
  if (head === undefined) return { kind: 'broken', error: errorOf(read), backup: undefined }
  const { machines, files, errors } = await readMachines(root, head)
  const record = { ...head.head, machines }
  if (read.kind === 'whole' && errors.length === 0) return { kind: 'whole', record, head: read, files }
  const error = read.kind === 'broken' ? read.error : joined(errors)
  return { kind: 'broken', error, backup: record }
}

/** Returns the state, or throws an error that says why the state cannot be used. */
export async function loadState(root: string, uuid: DeploymentUuid): Promise<LoadedState> {
  const read = await readState(root, uuid)
  if (read.kind === 'broken') throw read.error
  return read
}

function errorOf(read: HeadRead): OpsError {
  if (read.kind === 'broken') return read.error
  throw new Error('a state that is whole has no error')
}

function joined(errors: readonly OpsError[]): OpsError {
  const error = severalErrors(errors)
  if (error instanceof OpsError) return error
  throw error
}

/** Reads the machines of a deployment; uses the last good record in place of a damaged file, if one exists. */
async function readMachines(
  root: string,
  { head, undivided }: LoadedHead,
): Promise<{ machines: Machines; files: Map<MachineName, LoadedFile>; errors: OpsError[] }> {
  const files = new Map<MachineName, LoadedFile>()
  const errors: OpsError[] = []
  if (undivided !== undefined) return { machines: undivided.machines, files, errors }
  const folder = stateFiles(join(deploymentsFolder(root), head.uuid)).machines
  const found: [MachineName, MachineRecord][] = []
  const rest = restEvery()
  const names = namesIn(folder)
  if (names instanceof OpsError) return { machines: newMachines(), files, errors: [names] }
  const many = names.length >= manyMachines
  for (const name of names) {
    await rest()
    const read = readMachineIn(folder, root, head, name, many)
    if (read.kind === 'gone') continue
    if (read.kind === 'broken') errors.push(read.error)
    const good = read.kind === 'whole' ? read : read.backup
    if (good === undefined) continue
    const machine = MachineName.parse(name)
    found.push([machine, good.machine])
    files.set(machine, good)
  }
  // The machines are in the order of their indexes, as in an undivided state.
  found.sort(([, a], [, b]) => a.index - b.index)
  return { machines: newMachines(Object.fromEntries(found)), files, errors }
}

function namesIn(folder: string): string[] | OpsError {
  try {
    return machinesOfFiles(readdirSync(folder))
  } catch (error) {
    return fsFailure(error, 'read the machines of the deployment,', folder)
  }
}

export type MachineRead =
  | ({ readonly kind: 'whole' } & LoadedMachine)
  | { readonly kind: 'gone' }
  | { readonly kind: 'broken'; readonly error: OpsError; readonly backup: LoadedMachine | undefined }

export function readMachine(
  root: string,
  head: Pick<DeploymentHead, 'uuid' | 'name'>,
  name: string,
): MachineRead {
  const { machines } = stateFiles(join(deploymentsFolder(root), head.uuid))
  return readMachineIn(machines, root, head, name, false)
}

function readMachineIn(
  folder: string,
  root: string,
  head: Pick<DeploymentHead, 'uuid' | 'name'>,
  name: string,
  many: boolean,
): MachineRead {
  const files = machineFiles(folder, name)
  const parse = (text: string) => parseMachine(root, head.uuid, name, text, many)
  const read = readFile(files.state, parse)
  if (read.kind === 'whole') return read
  // A removal deletes the backup first, so a backup without its file means damage.
  if (read.kind === 'gone' && !existsSync(files.backup)) return read
  const backup = readFile(files.backup, parse)
  const good = backup.kind === 'whole' ? backup : undefined
  const what = `the state of machine '${name}' of deployment '${head.name ?? head.uuid}'`
  const damage: Damage = { what, file: files.state, backup: good === undefined ? undefined : files.backup }
  return { kind: 'broken', backup: good, error: refusal(damage, read) }
}

function readFile<T>(file: string, parse: (text: string) => T | Unusable): T | Unusable {
  try {
    return parse(readFileSync(file, 'utf8'))
  } catch (error) {
    return errnoOf(error) === 'ENOENT' ? { kind: 'gone' } : { kind: 'unreadable', error }
  }
}

/** Parses JSON and migrates it to the current form. */
function current(text: string, kind: string): { kind: 'read'; state: unknown; from: number } | Unusable {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    return {
      kind: 'damaged',
      how: text.trim() === '' ? 'the file is empty' : 'the file is not complete JSON',
    }
  }
  const migrated = migrate(json)
  if (migrated.kind === 'newer') return migrated
  if (migrated.kind === 'alien')
    return { kind: 'damaged', how: `the file is not a ${kind} file of hydra-ops` }
  return { kind: 'read', state: migrated.state, from: migrated.from }
}

function checked<T>(schema: z.ZodType<T>, value: unknown): { kind: 'valid'; data: T } | Unusable {
  const parsed = schema.safeParse(value)
  if (parsed.success) return { kind: 'valid', data: parsed.data }
  const issue = parsed.error.issues[0]
  return { kind: 'damaged', how: `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'not valid'}` }
}

function parseHead(
  root: string,
  uuid: DeploymentUuid,
  text: string,
): ({ kind: 'whole' } & LoadedHead) | Unusable {
  const read = current(text, 'state')
  if (read.kind !== 'read') return read
  if (read.from >= dividedSince) {
    const parsed = checked(StateFile, read.state)
    if (parsed.kind !== 'valid') return parsed
    return headOf(root, uuid, parsed.data, { text, undivided: undefined })
  }
  const parsed = checked(text.length < largeState ? UndividedState : compiledUndividedState(), read.state)
  if (parsed.kind !== 'valid') return parsed
  const { machines, ...file } = parsed.data
  const undivided = { machines: presentMachines(root, machines), schema: read.from }
  return headOf(root, uuid, file, { text, undivided })
}

function headOf(
  root: string,
  uuid: DeploymentUuid,
  { deployment, revision }: z.infer<typeof StateFile>,
  rest: Pick<LoadedHead, 'text' | 'undivided'>,
): ({ kind: 'whole' } & LoadedHead) | Unusable {
  if (deployment.uuid !== uuid) {
    return { kind: 'damaged', how: `the file is the state of another deployment, ${deployment.uuid}` }
  }
  return { kind: 'whole', head: mapPaths(deployment, (path) => fromStored(root, path)), revision, ...rest }
}

function presentMachines(root: string, stored: Machines): Machines {
  const machines = newMachines(stored)
  for (const [name, machine] of Object.entries(stored))
    machines[MachineName.parse(name)] = presentHandle(root, machine)
  return machines
}

function parseMachine(
  root: string,
  uuid: DeploymentUuid,
  name: string,
  text: string,
  many: boolean,
): ({ kind: 'whole' } & LoadedMachine) | Unusable {
  const read = current(text, "machine's")
  if (read.kind !== 'read') return read
  const parsed = checked(many ? compiledMachineFile() : MachineFile, read.state)
  if (parsed.kind !== 'valid') return parsed
  const { deployment, machine, revision } = parsed.data
  if (deployment !== uuid)
    return { kind: 'damaged', how: `the file belongs to another deployment, ${deployment}` }
  if (parsed.data.name !== name)
    return { kind: 'damaged', how: `the file belongs to machine '${parsed.data.name}'` }
  return { kind: 'whole', machine: presentHandle(root, machine), revision, text }
}

/** Renders state.json; refuses a record that could not be read back. */
export function renderHead(root: string, head: DeploymentHead, revision: number): string {
  const { uuid } = head
  const deployment = mapPaths(head, (path) => toStored(root, path))
  const text = render({ schemaVersion, revision, deployment })
  refuseUnreadable(parseHead(root, uuid, text))
  return text
}

/** Renders a machine's file; refuses a record that could not be read back. */
export function renderMachine(
  root: string,
  uuid: DeploymentUuid,
  name: MachineName,
  { machine, revision }: { readonly machine: MachineRecord; readonly revision: number },
  many = false,
): string {
  const text = render({
    schemaVersion,
    revision,
    deployment: uuid,
    name,
    machine: storedHandle(root, machine),
  })
  refuseUnreadable(parseMachine(root, uuid, name, text, many))
  return text
}

function render(file: object): string {
  return `${JSON.stringify(file, undefined, 1)}\n`
}

function refuseUnreadable(again: { readonly kind: 'whole' } | Unusable): void {
  if (again.kind === 'whole') return
  const why = again.kind === 'damaged' ? again.how : again.kind
  throw new Error(`bug: hydra-ops was about to write a state that cannot be read back: ${why}`)
}

function mapPaths(head: DeploymentHead, change: (path: string) => string): DeploymentHead {
  return {
    ...head,
    expressions: head.expressions.map(change),
    searchPath: head.searchPath.map((entry) => mapSearchPath(entry, change)),
  }
}
