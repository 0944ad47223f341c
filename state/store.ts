import { randomUUID } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Operator } from '../src/core/context.js'
import { type DeploymentHead, newMachines, type StateFolder } from '../src/core/deployment.js'
import { addFile, syncFolder } from '../src/core/durable-file.js'
import { locked, OpsError, usageError } from '../src/core/errors.js'
import { errnoOf, fsFailure } from '../src/core/file-failure.js'
import { DeploymentUuid } from '../src/core/names.js'
import type { Run } from '../src/core/run.js'
import type { DeploymentStore } from '../src/core/store.js'
import { describeHolder, type Holder } from './holder.js'
import { readJournal } from './journal.js'
import { type HeldLock, removeLock, tryLock } from './lock.js'
import { deploymentPaths, deploymentsFolder, type Environment, stateFiles } from './paths.js'
import { loadPreferences, writePreferences } from './preferences.js'
import { type Entry, findDeployment, nameOf, onlyDeployment } from './resolve.js'
import { loadState, readHead, readState, renderHead, type StateRead } from './state-file.js'
import { createStoreLock } from './store-lock.js'
import { usualSurvivorsMs, waitForSurvivors } from './surviving-programs.js'
import { newPrefix, sweepDeployment } from './sweep.js'

export interface StoreOptions {
  readonly files: StateFolder
  readonly operator: Operator
  readonly env: Environment
  /**
   * Function called after each durable write, with the number of the write and the event of a journal write. Crash
   * tests stop the process here.
   */
  readonly onWrite?: ((n: number, event: string | undefined) => void) | undefined
  now?(): Date
  /** Signal that ends the waits for other processes. */
  readonly signal?: AbortSignal
  /** Receives a sentence when a lock waits for a program of a killed process. */
  onWait?(sentence: string): void
  /** The longest wait for programs of a killed process. */
  readonly survivorsMs?: number
}

/** Creates the local state store. Neither opening nor reading writes or creates a file. */
export async function createStore(options: StoreOptions): Promise<DeploymentStore> {
  const { operator, env, files } = options
  const { root, paths } = files
  const now = options.now ?? (() => new Date())
  const { signal = new AbortController().signal } = options
  const storeLock = createStoreLock(root, operator, now)
  let preferences = await loadPreferences(root)
  let writes = 0
  const wrote = (event?: string) => {
    writes += 1
    options.onWrite?.(writes, event)
  }
  const audibly: Run = { signal, log: (line) => options.onWait?.(line) }
  const quietly: Run = { signal, log: () => {} }
  const heads = (): Entry[] => uuidsIn(root).map((uuid) => ({ uuid, ...readHead(root, uuid) }))
  const states = async (except?: DeploymentUuid): Promise<StateRead[]> => {
    const read: StateRead[] = []
    for (const uuid of uuidsIn(root)) {
      if (uuid === except) continue
      const state = await readState(root, uuid)
      // Another process may have removed the deployment since its folder was listed.
      if (state.kind === 'whole' || existsSync(paths(uuid).root)) read.push(state)
    }
    return read
  }
  const load = async (uuid: DeploymentUuid) => (await loadState(root, uuid)).record
  const find = (reference: string, origin?: string) => {
    const uuid = DeploymentUuid.safeParse(reference.toLowerCase())
    // A complete UUID can be resolved without reading other deployments.
    if (uuid.success && existsSync(paths(uuid.data).root)) return load(uuid.data)
    return load(findDeployment(reference, heads(), origin))
  }
  const store: DeploymentStore = {
    list: async (except) =>
      (await states(except)).flatMap((state) => (state.kind === 'whole' ? [state.record] : [])).sort(byName),
    problems: async () => (await states()).flatMap((state) => (state.kind === 'broken' ? [state.error] : [])),
    async resolve(reference) {
      if (reference !== undefined) return find(reference)
      const { HYDRA_OPS_DEPLOYMENT: named } = env
      if (named !== undefined && named !== '') return find(named, 'HYDRA_OPS_DEPLOYMENT')
      const { deployment } = await store.preferences()
      if (deployment !== undefined) return find(deployment, 'hydra-ops config get deployment')
      return load(onlyDeployment(heads()))
    },
    create: (wanted) =>
      storeLock.during(quietly, async () => {
        const head: DeploymentHead = {
          ...wanted,
          uuid: DeploymentUuid.parse(randomUUID()),
          createdAt: now().toISOString(),
        }
        refuseTakenName(head, heads())
        await makeDeployment(root, head)
        wrote()
        return { ...head, machines: newMachines() }
      }),
    async lock(uuid, action) {
      const read = readHead(root, uuid)
      if (read.kind === 'broken') throw read.error
      const waitMs = options.survivorsMs ?? usualSurvivorsMs
      const lock = await takeLock(root, read.head, operator, now(), (dead, name) =>
        waitForSurvivors(dead, name, audibly, waitMs),
      )
      try {
        sweepDeployment(paths(uuid).root)
        const claimingName = (renamed: DeploymentHead, write: () => Promise<void>) =>
          storeLock.during(quietly, async () => {
            refuseTakenName(renamed, heads())
            await write()
          })
        const context = { root, paths: paths(uuid), operator, lock, now, wrote, claimingName }
        // The module is loaded only here, because most commands only read.
        const { writingSession } = await import('./writing-session.js')
        const { session, ended } = writingSession(context, await loadState(root, uuid))
        try {
          return await action(session)
        } finally {
          await ended()
        }
      } finally {
        await lock.release()
      }
    },
    allocating: (uuid, run, action) =>
      storeLock.during(run, async () =>
        // Ports of a damaged deployment are still taken: its last good record names them.
        action(
          (await states(uuid)).flatMap((state) =>
            state.kind === 'whole' ? state.record : (state.backup ?? []),
          ),
        ),
      ),
    async unlock(uuid) {
      const holder = await removeLock(stateFiles(paths(uuid).root).lock)
      if (holder === undefined) return undefined
      return holder === 'unknown' ? 'an unknown command (the lock names none)' : describeHolder(holder)
    },
    history: async (uuid) => readJournal(stateFiles(paths(uuid).root).journal),
    async preferences() {
      if (preferences instanceof OpsError) throw preferences
      return preferences
    },
    setPreferences: (changed) =>
      storeLock.during(quietly, async () => {
        await writePreferences(root, changed)
        preferences = changed
        wrote()
      }),
  }
  return store
}

function byName(a: DeploymentHead, b: DeploymentHead): number {
  return (a.name ?? a.uuid).localeCompare(b.name ?? b.uuid)
}

function uuidsIn(root: string): DeploymentUuid[] {
  try {
    return readdirSync(deploymentsFolder(root)).flatMap((name) => {
      const uuid = DeploymentUuid.safeParse(name)
      return uuid.success ? [uuid.data] : []
    })
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return []
    throw fsFailure(error, 'read the state folder', deploymentsFolder(root))
  }
}

function refuseTakenName(wanted: DeploymentHead, entries: readonly Entry[]): void {
  if (wanted.name === undefined) return
  const taken = entries.find((entry) => entry.uuid !== wanted.uuid && nameOf(entry) === wanted.name)
  if (taken === undefined) return
  throw usageError(`deployment '${wanted.name}' exists already (${taken.uuid})`, {
    hint: `change that deployment with hydra-ops modify -d ${wanted.name}, or choose another name`,
  })
}

/**
 * Creates a deployment under a temporary name and renames it when complete, so that a crash leaves no partial
 * deployment.
 */
async function makeDeployment(root: string, head: DeploymentHead): Promise<void> {
  const { root: folder } = deploymentPaths(root, head.uuid)
  const draft = join(deploymentsFolder(root), `${newPrefix}${head.uuid}`)
  const files = stateFiles(draft)
  const text = renderHead(root, head, 0)
  try {
    for (const each of [draft, files.machines]) mkdirSync(each, { mode: 0o700 })
    await addFile(files.state, text, files.backup)
    renameSync(draft, folder)
    await syncFolder(deploymentsFolder(root))
  } catch (error) {
    rmSync(draft, { recursive: true, force: true })
    throw error instanceof OpsError ? error : fsFailure(error, 'create the deployment', folder)
  }
}

async function takeLock(
  root: string,
  record: DeploymentHead,
  operator: Operator,
  now: Date,
  beforeTakeOver: (dead: Holder, name: string) => Promise<void>,
): Promise<HeldLock> {
  const { lock: folder } = stateFiles(deploymentPaths(root, record.uuid).root)
  const name = record.name ?? record.uuid
  const attempt = await tryLock(folder, operator, now, (dead) => beforeTakeOver(dead, name))
  if (attempt.kind === 'held') return attempt.lock
  const holder = attempt.holder === undefined ? 'somebody' : describeHolder(attempt.holder)
  throw locked(`deployment '${name}' is locked by ${holder}`, {
    hint: `wait until the command that holds the lock ends; if that command no longer runs, run hydra-ops unlock -d ${name}`,
  })
}
