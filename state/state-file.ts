import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { DeploymentRecord } from '../src/core/deployment.js'
import { replaceDurably } from '../src/core/durable-file.js'
import { failure, type OpsError } from '../src/core/errors.js'
import { errnoOf, fsFailure } from '../src/core/file-failure.js'
import type { DeploymentUuid } from '../src/core/names.js'
import { shellQuote } from '../src/core/shell-quote.js'
import { migrate } from './migrations.js'
import { deploymentsFolder, fromStored, mapSearchPath, stateFiles, toStored } from './paths.js'
import { compiledStateFile, StateFile, schemaVersion } from './schema.js'
import { presentHandles, storedHandles } from './stored-handle.js'

/** Characters, of some 300 machines: from there on the compiled schema takes less time even where it is used once. */
export const largeState = 300_000

/** A state file that was read and is whole. */
export interface LoadedState {
  readonly record: DeploymentRecord
  readonly revision: number
  /** What lay on the disk, byte for byte: before a write it must still be the same. */
  readonly text: string
}

export type StateRead =
  | ({ readonly kind: 'whole' } & LoadedState)
  /** Holds the last good record where the backup has one: for its name and its ports, never to go on with. */
  | { readonly kind: 'broken'; readonly error: OpsError; readonly backup: DeploymentRecord | undefined }

/** Reads and validates once; writes nothing, makes nothing. */
export function readState(root: string, uuid: DeploymentUuid): StateRead {
  const files = stateFiles(join(deploymentsFolder(root), uuid))
  const read = readOne(root, uuid, files.state)
  if (read.kind === 'whole') return read
  const backup = readOne(root, uuid, files.backup)
  const good = backup.kind === 'whole' ? backup.record : undefined
  return { kind: 'broken', backup: good, error: refusal(uuid, files, read, good) }
}

/** Returns the record, or throws the reason why there is none. */
export function loadState(root: string, uuid: DeploymentUuid): LoadedState {
  const read = readState(root, uuid)
  if (read.kind === 'broken') throw read.error
  return read
}

type Unusable =
  | { readonly kind: 'gone' }
  | { readonly kind: 'newer'; readonly version: number }
  | { readonly kind: 'damaged'; readonly how: string }
  | { readonly kind: 'unreadable'; readonly error: unknown }

function readOne(
  root: string,
  uuid: DeploymentUuid,
  file: string,
): ({ kind: 'whole' } & LoadedState) | Unusable {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    return errnoOf(error) === 'ENOENT' ? { kind: 'gone' } : { kind: 'unreadable', error }
  }
  return parseState(root, uuid, text)
}

function parseState(
  root: string,
  uuid: DeploymentUuid,
  text: string,
): ({ kind: 'whole' } & LoadedState) | Unusable {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    return { kind: 'damaged', how: text.trim() === '' ? 'it is empty' : 'it is not JSON; was it cut off?' }
  }
  const migrated = migrate(json)
  if (migrated.kind === 'newer') return migrated
  if (migrated.kind === 'alien') return { kind: 'damaged', how: 'it is not a state file of hydra-ops' }
  const schema = text.length < largeState ? StateFile : compiledStateFile()
  const parsed = schema.safeParse(migrated.state)
  if (!parsed.success) {
    const issue = parsed.error.issues[0]
    return { kind: 'damaged', how: `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'not valid'}` }
  }
  const { deployment, revision } = parsed.data
  if (deployment.uuid !== uuid) {
    return { kind: 'damaged', how: `it is the state of another deployment, ${deployment.uuid}` }
  }
  return {
    kind: 'whole',
    record: presentHandles(
      root,
      mapPaths(deployment, (path) => fromStored(root, path)),
    ),
    revision,
    text,
  }
}

/** One sentence on what is wrong, and the very command that mends it where there is one. */
function refusal(
  uuid: DeploymentUuid,
  files: { readonly state: string; readonly backup: string },
  why: Unusable,
  backup: DeploymentRecord | undefined,
): OpsError {
  const what = `the state of deployment ${backup?.name === undefined ? uuid : `'${backup.name}' (${uuid})`}`
  if (why.kind === 'unreadable') return fsFailure(why.error, `read ${what},`, files.state)
  if (why.kind === 'newer') {
    return failure(
      'STATE_NEWER',
      `${what} was written by a newer hydra-ops (schema ${why.version}, this one knows ${schemaVersion}): ${files.state}`,
      { hint: 'use that version of hydra-ops, or a later one' },
    )
  }
  const how = why.kind === 'gone' ? 'is missing' : 'is damaged'
  const detail = why.kind === 'damaged' ? ` (${why.how})` : ''
  return failure('STATE_DAMAGED', `${what} ${how}: ${files.state}${detail}`, {
    hint:
      backup === undefined
        ? 'there is no good backup beside it: put back a copy of your own; the machines themselves are untouched'
        : `the backup of the last good state is whole: cp -p ${shellQuote(files.backup)} ${shellQuote(files.state)}`,
  })
}

/** The text of a state file. Refuses a record that could not be read back. */
export function renderState(root: string, record: DeploymentRecord, revision: number): string {
  const deployment = storedHandles(
    root,
    mapPaths(record, (path) => toStored(root, path)),
  )
  const text = `${JSON.stringify({ schemaVersion, revision, deployment }, undefined, 1)}\n`
  const again = parseState(root, record.uuid, text)
  if (again.kind === 'whole') return text
  const why = again.kind === 'damaged' ? again.how : again.kind
  throw new Error(`bug: a state that could not be read back was about to be written: ${why}`)
}

/** Puts a state file into a deployment's folder; the one that was there becomes the backup. */
export function writeState(folder: string, text: string): void {
  const files = stateFiles(folder)
  replaceDurably(files.state, text, { backup: existsSync(files.state) ? files.backup : undefined })
}

function mapPaths(record: DeploymentRecord, change: (path: string) => string): DeploymentRecord {
  return {
    ...record,
    expressions: record.expressions.map(change),
    searchPath: record.searchPath.map((entry) => mapSearchPath(entry, change)),
  }
}
