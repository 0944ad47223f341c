import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import type { DeploymentRecord, StateFolder } from '../../src/core/deployment.js'
import { DeploymentName, MachineName } from '../../src/core/names.js'
import type { DeploymentStore } from '../../src/core/store.js'
import type { StoreOptions } from '../../state/store.js'
import { storeIn, type TestStore } from './open-store.js'

export { operator, storeIn, type TestStore } from './open-store.js'

/** Creates a folder that is removed after the test. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'hydra-ops-state-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

export function temporaryStore(options: Partial<StoreOptions> = {}): Promise<TestStore> {
  return storeIn(join(temporaryFolder(), 'state'), options)
}

export function createLab(store: DeploymentStore, name = 'lab'): Promise<DeploymentRecord> {
  return store.create({
    name: DeploymentName.parse(name),
    expressions: ['/srv/hydra.nix'],
    searchPath: [],
    args: { size: '"big"' },
  })
}

export const web = MachineName.parse('web')

export function stateFile(store: StateFolder, record: DeploymentRecord): string {
  return join(store.paths(record.uuid).root, 'state.json')
}

export function machineFile(store: StateFolder, record: DeploymentRecord, machine = 'web'): string {
  return join(store.paths(record.uuid).root, 'machines', `${machine}.json`)
}

/** Returns every file and folder below, with content, mode and time of change, to prove that nothing was written. */
export function snapshot(folder: string): string[] {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true })
  return entries
    .map((entry) => {
      const path = join(entry.parentPath, entry.name)
      const { mode, mtimeNs } = statSync(path, { bigint: true })
      return `${path} ${mode.toString(8)} ${mtimeNs} ${entry.isFile() ? readFileSync(path, 'utf8') : ''}`
    })
    .sort()
}

/** Returns only the files, because a lock that was taken and released changes the time of its folder. */
export function fileSnapshot(folder: string): string[] {
  return snapshot(folder).filter((line) => !/^[^ ]* 40700 /.test(line))
}

/** Returns the error that the action throws, and fails if it throws nothing. */
export async function errorOf(action: () => unknown): Promise<unknown> {
  try {
    await action()
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}
