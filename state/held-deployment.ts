import { readFileSync, renameSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Operator } from '../src/core/context.js'
import type { DeploymentRecord } from '../src/core/deployment.js'
import { syncFolder } from '../src/core/durable-file.js'
import { failure, locked } from '../src/core/errors.js'
import { errnoOf, fsFailure } from '../src/core/file-failure.js'
import type { DeploymentSession, JournalFacts } from '../src/core/session.js'
import { appendJournal } from './journal.js'
import type { HeldLock } from './lock.js'
import { deploymentPaths, stateFiles } from './paths.js'
import { type LoadedState, readState, renderState, writeState } from './state-file.js'
import { removedPrefix } from './sweep.js'

export interface HoldingContext {
  readonly root: string
  readonly operator: Operator
  readonly lock: HeldLock
  now(): Date
  /** After each durable write; of the journal, with what was written. */
  wrote(event?: string): void
  /** Runs `action` if no other deployment has that name. */
  claimingName(record: DeploymentRecord, action: () => void): Promise<void>
}

/** The one writer of a deployment, while it has its lock. */
export function holdDeployment(context: HoldingContext, loaded: LoadedState): DeploymentSession {
  const { root, operator } = context
  const { uuid } = loaded.record
  const paths = deploymentPaths(root, uuid)
  const files = stateFiles(paths.root)
  let current: LoadedState = loaded
  let removed = false

  const checkThere = () => {
    if (removed)
      throw failure('STATE_REMOVED', `deployment '${current.record.name ?? uuid}' is removed already`)
  }
  const checkOurs = () => {
    checkThere()
    if (current.text !== textOnDisk(files.state)) throw changedUnderUs(root, current)
    if (context.lock.isOurs()) return
    throw locked(
      `the lock of deployment '${current.record.name ?? uuid}' was taken from this command while it ran; ` +
        'it writes nothing more',
      { hint: 'see who else works on it (hydra-ops history), then give the same command again' },
    )
  }
  const write = (record: DeploymentRecord) => {
    const revision = current.revision + 1
    const text = renderState(root, record, revision)
    writeState(paths.root, text)
    current = { record, revision, text }
    context.wrote()
  }

  const update = async (change: (draft: DeploymentRecord) => void): Promise<void> => {
    checkOurs()
    const draft = structuredClone(current.record)
    change(draft)
    if (JSON.stringify(draft) === JSON.stringify(current.record)) return
    if (draft.name !== undefined && draft.name !== current.record.name) {
      await context.claimingName(draft, () => write(draft))
    } else write(draft)
  }
  const journal = async (entry: JournalFacts): Promise<void> => {
    checkThere()
    const { user, host, command, run } = operator
    appendJournal(files.journal, { at: context.now().toISOString(), user, host, command, run, ...entry })
    context.wrote(entry.event)
  }

  return {
    paths,
    get record() {
      return current.record
    },
    get written() {
      return current.record
    },
    writable: true,
    updateDeployment: update,
    updateMachine: (name, change) =>
      update(({ machines }) => {
        const machine = machines[name]
        if (machine !== undefined) change(machine)
      }),
    putMachine: (name, machine) =>
      update(({ machines }) => {
        machines[name] = machine
      }),
    removeMachine: (name) =>
      update(({ machines }) => {
        delete machines[name]
      }),
    journal,
    begun: true,
    begin: journal,
    commitNetwork: async () => {},
    commit: async () => {},
    whenWriting: async (action) => action(),
    async remove() {
      checkOurs()
      const doomed = join(dirname(paths.root), `${removedPrefix}${uuid}`)
      try {
        renameSync(paths.root, doomed)
        syncFolder(dirname(paths.root))
        removed = true
        context.wrote()
        rmSync(doomed, { recursive: true, force: true })
      } catch (error) {
        throw fsFailure(error, 'remove', doomed)
      }
    },
  }
}

function textOnDisk(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw fsFailure(error, 'read', file)
  }
}

/** Somebody deleted, damaged or rewrote the file since we read it. It is not begun anew. */
function changedUnderUs(root: string, ours: LoadedState): Error {
  const { uuid, name } = ours.record
  const found = readState(root, uuid)
  if (found.kind === 'broken') {
    const { code, message, hint } = found.error
    return failure(code, `${message}; it was whole when this command began, which writes nothing more`, {
      cause: found.error,
      ...(hint === undefined ? {} : { hint }),
    })
  }
  return failure(
    'STATE_CHANGED',
    `somebody else wrote the state of deployment '${name ?? uuid}' while this command ran ` +
      `(revision ${ours.revision} was expected, ${found.revision} is there); nothing was written over it`,
    { hint: 'see what happened (hydra-ops history), then give the same command again' },
  )
}
