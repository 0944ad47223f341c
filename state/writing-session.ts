import { readFileSync, renameSync, rmSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import pLimit from 'p-limit'
import type { Operator } from '../src/core/context.js'
import {
  type DeploymentHead,
  type DeploymentPaths,
  type DeploymentRecord,
  type MachineRecord,
  newMachines,
} from '../src/core/deployment.js'
import { addFile, appendLine, removeFile, replaceFile, syncFolder } from '../src/core/durable-file.js'
import { failure, locked } from '../src/core/errors.js'
import { errnoOf, fsFailure } from '../src/core/file-failure.js'
import { MachineName } from '../src/core/names.js'
import type { DeploymentSession, JournalFacts } from '../src/core/session.js'
import { settleAll } from '../src/core/settle.js'
import { changedUnderUs } from './changed-under-us.js'
import type { HeldLock } from './lock.js'
import { machineFiles, stateFiles } from './paths.js'
import {
  type LoadedFile,
  type LoadedHead,
  type LoadedState,
  manyMachines,
  renderHead,
  renderMachine,
} from './state-file.js'
import { removedPrefix } from './sweep.js'

export interface WritingContext {
  readonly root: string
  readonly paths: DeploymentPaths
  readonly operator: Operator
  readonly lock: HeldLock
  now(): Date
  /** Reports each durable write; a journal write passes its event. */
  wrote(event?: string): void
  /** Runs `action` if no other deployment has the name. */
  claimingName(head: DeploymentHead, action: () => Promise<void>): Promise<void>
}

/** The session of a writer, and a function that waits for the writes that the session began. */
export interface WritingSession {
  readonly session: DeploymentSession
  ended(): Promise<void>
}

/**
 * Begins the session of a deployment's only writer, while the writer holds the lock. Writes of one file are sequential;
 * writes of different machines are parallel.
 */
export function writingSession(context: WritingContext, loaded: LoadedState): WritingSession {
  const { root, operator, paths } = context
  const { uuid } = loaded.record
  const files = stateFiles(paths.root)
  const machines = newMachines(loaded.record.machines)
  const machineTexts = new Map<MachineName, LoadedFile>(loaded.files)
  let head: LoadedHead = loaded.head
  let record: DeploymentRecord = { ...head.head, machines }
  let removed = false

  const checkThere = () => {
    if (removed) throw failure('STATE_REMOVED', `deployment '${head.head.name ?? uuid}' was already removed`)
  }
  const checkLock = () => {
    if (context.lock.isOurs()) return
    throw locked(
      `the lock of deployment '${head.head.name ?? uuid}' was taken from this command while it ran; ` +
        'this command writes nothing more',
      { hint: 'see hydra-ops history for the other command, then run the same command again' },
    )
  }
  const checkHead = () => {
    checkThere()
    if (head.text !== textOnDisk(files.state)) throw changedUnderUs(root, head.head, head)
    checkLock()
  }
  const checkMachine = (machine: MachineName) => {
    const known = machineTexts.get(machine)
    // A machine without a file can only be checked by the deployment's file.
    if (known === undefined) checkHead()
    if (head.undivided !== undefined) return
    checkThere()
    if (known?.text !== textOnDisk(machineFiles(files.machines, machine).state))
      throw changedUnderUs(root, head.head, known ?? head, machine)
    checkLock()
  }

  const turns = new Map<string, Promise<unknown>>()
  // Hundreds of simultaneous writes would otherwise be checked and rendered at once, without a turn for other work.
  const writing = pLimit(filesAtOnce)
  const inTurn = <T>(file: string, action: () => Promise<T>): Promise<T> => {
    const turn = (turns.get(file) ?? Promise.resolve()).then(() => writing(action))
    turns.set(
      file,
      turn.catch(() => {}),
    )
    return turn
  }

  const addMachineFile = async (
    machine: MachineName,
    wanted: MachineRecord,
    many: boolean,
  ): Promise<void> => {
    const text = renderMachine(root, uuid, machine, { machine: wanted, revision: 0 }, many)
    const { state, backup } = machineFiles(files.machines, machine)
    await addFile(state, text, backup)
    machineTexts.set(machine, { revision: 0, text })
    context.wrote()
  }

  /**
   * Writes a file for each machine, then state.json without the machines. Only this last write makes the new files
   * valid.
   */
  const divide = async (): Promise<void> => {
    checkHead()
    const { undivided } = head
    if (undivided === undefined) return
    await rm(files.machines, { recursive: true, force: true })
    await makeFolder(files.machines)
    context.wrote()
    const many = Object.keys(machines).length >= manyMachines
    const slots = pLimit(filesAtOnce)
    const added = Object.entries(machines).map(([name, machine]) =>
      slots(() => addMachineFile(MachineName.parse(name), machine, many)),
    )
    await settleAll(added)
    const revision = head.revision + 1
    const text = renderHead(root, head.head, revision)
    // An old backup would otherwise silently restore the machines as they were then.
    await replaceFile(files.backup, text)
    context.wrote()
    await replaceFile(files.state, text, { backup: `${files.state}.schema-${undivided.schema}` })
    head = { ...head, revision, text, undivided: undefined }
    context.wrote()
  }
  let dividing: Promise<void> | undefined
  const divided = async (): Promise<void> => {
    if (head.undivided === undefined) return
    dividing ??= divide().finally(() => {
      dividing = undefined
    })
    await dividing
  }

  const writeHead = async (wanted: DeploymentHead): Promise<void> => {
    renderHead(root, wanted, head.revision)
    await divided()
    const revision = head.revision + 1
    const text = renderHead(root, wanted, revision)
    await replaceFile(files.state, text, { backup: files.backup })
    head = { ...head, head: wanted, revision, text }
    record = { ...wanted, machines }
    context.wrote()
  }

  const put = async (machine: MachineName, wanted: MachineRecord): Promise<void> => {
    checkMachine(machine)
    const before = machines[machine]
    if (before !== undefined && JSON.stringify(before) === JSON.stringify(wanted)) return
    renderMachine(root, uuid, machine, { machine: wanted, revision: 0 })
    await divided()
    const known = machineTexts.get(machine)
    if (known === undefined) await addMachineFile(machine, wanted, false)
    else {
      const revision = known.revision + 1
      const text = renderMachine(root, uuid, machine, { machine: wanted, revision })
      const { state, backup } = machineFiles(files.machines, machine)
      await replaceFile(state, text, { backup })
      machineTexts.set(machine, { revision, text })
      context.wrote()
    }
    machines[machine] = wanted
  }

  const journal = (entry: JournalFacts): Promise<void> =>
    inTurn(files.journal, async () => {
      checkThere()
      const { user, host, command, run } = operator
      const at = context.now().toISOString()
      await appendLine(files.journal, JSON.stringify({ at, user, host, command, run, ...entry }))
      context.wrote(entry.event)
    })

  const session: DeploymentSession = {
    paths,
    get record() {
      return record
    },
    get written() {
      return record
    },
    writable: true,
    updateDeployment: (change) =>
      inTurn(files.state, async () => {
        checkHead()
        const wanted = structuredClone(head.head)
        change(wanted)
        if (JSON.stringify(wanted) === JSON.stringify(head.head)) return
        if (wanted.name === undefined || wanted.name === head.head.name) await writeHead(wanted)
        else await context.claimingName(wanted, () => writeHead(wanted))
      }),
    updateMachine: (machine, change) =>
      inTurn(machine, async () => {
        const known = machines[machine]
        if (known === undefined)
          throw failure('NO_MACHINE', `machine '${machine}' is not in the state`, { machine })
        const wanted = structuredClone(known)
        change(wanted)
        await put(machine, wanted)
      }),
    putMachine: (machine, wanted) => inTurn(machine, () => put(machine, wanted)),
    removeMachine: (machine) =>
      inTurn(machine, async () => {
        checkMachine(machine)
        if (machines[machine] === undefined) return
        await divided()
        const { state, backup } = machineFiles(files.machines, machine)
        await removeFile(state, backup, () => context.wrote())
        machineTexts.delete(machine)
        delete machines[machine]
      }),
    journal,
    async remove() {
      await Promise.all(turns.values())
      checkHead()
      const doomed = join(dirname(paths.root), `${removedPrefix}${uuid}`)
      try {
        renameSync(paths.root, doomed)
        removed = true
        await syncFolder(dirname(paths.root))
        context.wrote()
        rmSync(doomed, { recursive: true, force: true })
      } catch (error) {
        throw fsFailure(error, 'remove', doomed)
      }
    },
    begun: true,
    begin: journal,
    commitNetwork: async () => {},
    commit: async () => {},
    whenWriting: (action) => action(),
  }
  const ended = async () => {
    await Promise.all(turns.values())
  }
  return { session, ended }
}

/** Number of files that are written at once. */
const filesAtOnce = 8

async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { mode: 0o700 })
    await syncFolder(dirname(folder))
  } catch (error) {
    throw fsFailure(error, 'make the folder', folder)
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
