import { readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { temporaryName } from '../src/core/durable-file.js'
import { stateFiles } from './paths.js'

/** Age from which a draft counts as abandoned, because a living process needs a draft only for an instant. */
const lockDraftAgeMs = 60_000
const lockLeftover = /^lock\.(?:[0-9a-f]{12}\.tmp$|dead-)/

/** Removes files that crashed processes left in a deployment's folder. The caller must hold the deployment's lock. */
export function sweepDeployment(folder: string): void {
  for (const name of namesIn(folder)) {
    const path = join(folder, name)
    if (lockLeftover.test(name)) sweepLockDraft(path)
    else if (name.startsWith('state.json.') && temporaryName.test(name)) remove(path)
  }
  const { machines } = stateFiles(folder)
  for (const name of namesIn(machines)) {
    if (temporaryName.test(name)) remove(join(machines, name))
  }
}

/** Removes half-made and half-removed deployments in the state folder. The caller must hold the folder's lock. */
export function sweepStore(root: string, deployments: string): void {
  for (const name of namesIn(root)) {
    if (lockLeftover.test(name)) sweepLockDraft(join(root, name))
    else if (name.startsWith('config.json.') && temporaryName.test(name)) remove(join(root, name))
  }
  for (const name of namesIn(deployments)) {
    if (name.startsWith(newPrefix) || name.startsWith(removedPrefix)) remove(join(deployments, name))
  }
}

/** Prefix of the folder of an incomplete new deployment; a complete folder is renamed to its UUID. */
export const newPrefix = '.new-'
/** Prefix of a removed deployment, whose files are deleted next. */
export const removedPrefix = '.removed-'

function sweepLockDraft(path: string): void {
  const made = statSync(path, { throwIfNoEntry: false })?.mtimeMs
  if (made !== undefined && Date.now() - made > lockDraftAgeMs) remove(path)
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

/** Removes a path. A failure does no harm, because the next sweep tries again. */
function remove(path: string): void {
  try {
    rmSync(path, { recursive: true, force: true })
  } catch {}
}
