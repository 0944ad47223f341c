import type { StateFolder } from '../../src/core/deployment.js'
import type { DeploymentStore } from '../../src/core/store.js'
import { createStateFolder } from '../../state/paths.js'
import { createStore, type StoreOptions } from '../../state/store.js'

export const operator = { user: 'alice', host: 'build1', command: 'hydra-ops deploy -d lab', run: 'run-1' }

/** A store, and the folder with its files. */
export type TestStore = DeploymentStore & StateFolder

/** Opens the store of a folder as the next process would. */
export async function storeIn(root: string, options: Partial<StoreOptions> = {}): Promise<TestStore> {
  const files = createStateFolder(root, {})
  return { ...(await createStore({ files, operator, env: {}, ...options })), ...files }
}
