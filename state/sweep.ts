import { readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { temporaryName } from '../src/core/durable-file.js'
import { stateFiles } from './paths.js'

/** A lock being made by a process that lives has such a name for an instant. */
const lockDraftAgeMs = 60_000
const lockLeftover = /^lock\.(?:[0-9a-f]{12}\.tmp$|dead-)/

/** Removes what crashed processes left in a deployment's folder. Only for who holds its lock. */
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

/** The same for the state folder: half-made and half-removed deployments. Only for who holds its lock. */
export function sweepStore(root: string, deployments: string): void {
  for (const name of namesIn(root)) {
    if (lockLeftover.test(name)) sweepLockDraft(join(root, name))
    else if (name.startsWith('config.json.') && temporaryName.test(name)) remove(join(root, name))
  }
  for (const name of namesIn(deployments)) {
    if (name.startsWith(newPrefix) || name.startsWith(removedPrefix)) remove(join(deployments, name))
  }
}

/** A deployment that is being made; renamed to its UUID when it is whole. */
export const newPrefix = '.new-'
/** A deployment that was removed; its files go next. */
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

/** What cannot be removed is in nobody's way; the next one tries again. */
function remove(path: string): void {
  try {
    rmSync(path, { recursive: true, force: true })
  } catch {}
}
