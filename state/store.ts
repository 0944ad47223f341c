import { randomUUID } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Operator } from '../src/core/context.js'
import type { DeploymentRecord, StateFolder } from '../src/core/deployment.js'
import { syncFolder } from '../src/core/durable-file.js'
import { locked, OpsError, usageError } from '../src/core/errors.js'
import { errnoOf, fsFailure } from '../src/core/file-failure.js'
import { DeploymentUuid } from '../src/core/names.js'
import type { Run } from '../src/core/run.js'
import type { DeploymentStore } from '../src/core/store.js'
import { holdDeployment } from './held-deployment.js'
import { describeHolder } from './holder.js'
import { readJournal } from './journal.js'
import { type HeldLock, removeLock, tryLock } from './lock.js'
import { deploymentPaths, deploymentsFolder, type Environment, stateFiles } from './paths.js'
import { loadPreferences, writePreferences } from './preferences.js'
import { type Entry, findDeployment, nameOf, onlyDeployment } from './resolve.js'
import { loadState, readState, renderState, writeState } from './state-file.js'
import { createStoreLock } from './store-lock.js'
import { newPrefix, sweepDeployment } from './sweep.js'

export interface StoreOptions {
  readonly files: StateFolder
  readonly operator: Operator
  readonly env: Environment
  /** Called after each durable write with its number, and its event if it was one: where crash tests stop the process. */
  readonly onWrite?: ((n: number, event: string | undefined) => void) | undefined
  now?(): Date
  /** Ends the waits for other processes. */
  readonly signal?: AbortSignal
}

/** The local state store. Opening and reading it makes nothing and writes nothing. */
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
  const quietly: Run = { signal, log: () => {} }
  const entries = (except?: DeploymentUuid): Entry[] =>
    uuidsIn(root).flatMap((uuid) => (uuid === except ? [] : { uuid, ...readState(root, uuid) }))
  const find = (reference: string, origin?: string) => {
    const uuid = DeploymentUuid.safeParse(reference.toLowerCase())
    // A whole UUID needs no look at the others.
    if (uuid.success && existsSync(paths(uuid.data).root)) return loadState(root, uuid.data).record
    return findDeployment(reference, entries(), origin)
  }
  const store: DeploymentStore = {
    list: async (except) =>
      entries(except)
        .flatMap((entry) => (entry.kind === 'whole' ? [entry.record] : []))
        .sort(byName),
    problems: async () => entries().flatMap((entry) => (entry.kind === 'broken' ? [entry.error] : [])),
    async resolve(reference) {
      if (reference !== undefined) return find(reference)
      const { HYDRA_OPS_DEPLOYMENT: named } = env
      if (named !== undefined && named !== '') return find(named, 'HYDRA_OPS_DEPLOYMENT')
      const { deployment } = await store.preferences()
      if (deployment !== undefined) return find(deployment, 'hydra-ops config get deployment')
      return onlyDeployment(entries())
    },
    create: (wanted) =>
      storeLock.during(quietly, async () => {
        const record: DeploymentRecord = {
          ...wanted,
          uuid: DeploymentUuid.parse(randomUUID()),
          createdAt: now().toISOString(),
          machines: {},
        }
        refuseTakenName(record, entries())
        makeDeployment(root, record)
        wrote()
        return record
      }),
    async lock(uuid, action) {
      const { record } = loadState(root, uuid)
      const lock = takeLock(root, record, operator, now())
      try {
        sweepDeployment(paths(uuid).root)
        const claimingName = (renamed: Pick<DeploymentRecord, 'uuid' | 'name'>, write: () => void) =>
          storeLock.during(quietly, async () => {
            refuseTakenName(renamed, entries())
            write()
          })
        return await action(
          holdDeployment({ root, operator, lock, now, wrote, claimingName }, loadState(root, uuid)),
        )
      } finally {
        lock.release()
      }
    },
    allocating: (uuid, run, action) =>
      storeLock.during(run, () =>
        // Ports of a deployment whose state is damaged are still taken: its last good record says which.
        action(
          entries(uuid).flatMap((entry) => (entry.kind === 'whole' ? entry.record : (entry.backup ?? []))),
        ),
      ),
    async unlock(uuid) {
      const holder = removeLock(stateFiles(paths(uuid).root).lock)
      if (holder === undefined) return undefined
      return holder === 'unknown' ? 'somebody unknown: the lock did not say' : describeHolder(holder)
    },
    history: async (uuid) => readJournal(stateFiles(paths(uuid).root).journal),
    async preferences() {
      if (preferences instanceof OpsError) throw preferences
      return preferences
    },
    setPreferences: (changed) =>
      storeLock.during(quietly, async () => {
        writePreferences(root, changed)
        preferences = changed
        wrote()
      }),
  }
  return store
}

function byName(a: DeploymentRecord, b: DeploymentRecord): number {
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

function refuseTakenName(wanted: Pick<DeploymentRecord, 'uuid' | 'name'>, entries: readonly Entry[]): void {
  if (wanted.name === undefined) return
  const taken = entries.find((entry) => entry.uuid !== wanted.uuid && nameOf(entry) === wanted.name)
  if (taken === undefined) return
  throw usageError(`there is a deployment '${wanted.name}' already (${taken.uuid})`, {
    hint: `change it with hydra-ops modify -d ${wanted.name}, or choose another name`,
  })
}

/** Made under another name and renamed when it is whole: a crash leaves no half of one. */
function makeDeployment(root: string, record: DeploymentRecord): void {
  const { root: folder } = deploymentPaths(root, record.uuid)
  const draft = join(deploymentsFolder(root), `${newPrefix}${record.uuid}`)
  const text = renderState(root, record, 0)
  try {
    mkdirSync(draft, { mode: 0o700 })
    writeState(draft, text)
    renameSync(draft, folder)
    syncFolder(deploymentsFolder(root))
  } catch (error) {
    rmSync(draft, { recursive: true, force: true })
    throw error instanceof OpsError ? error : fsFailure(error, 'make the deployment', folder)
  }
}

function takeLock(root: string, record: DeploymentRecord, operator: Operator, now: Date): HeldLock {
  const { lock: folder } = stateFiles(deploymentPaths(root, record.uuid).root)
  const attempt = tryLock(folder, operator, now)
  if (attempt.kind === 'held') return attempt.lock
  const name = record.name ?? record.uuid
  const holder = attempt.holder === undefined ? 'somebody' : describeHolder(attempt.holder)
  throw locked(`deployment '${name}' is locked by ${holder}`, {
    hint: `wait until that ends; if it is gone for good: hydra-ops unlock -d ${name}`,
  })
}
