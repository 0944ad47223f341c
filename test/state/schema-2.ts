import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { DeploymentRecord } from '../../src/core/deployment.js'
import { DeploymentUuid, MachineName } from '../../src/core/names.js'

const file = fileURLToPath(new URL('../fixtures/state/schema-2.json', import.meta.url))

/** The state that hydra-ops with schema 2 wrote. */
export const schema2 = {
  file,
  uuid: DeploymentUuid.parse('0b7c3d1e-1111-4a2b-9c3d-000000000001'),
  /** The name of a machine that the state does not have. */
  other: MachineName.parse('other'),
  machine: (name: string) => MachineName.parse(name),
  /** Returns the record in this state, with paths below a state folder at `root`. */
  record(root: string): DeploymentRecord {
    const text = readFileSync(file, 'utf8').replaceAll('{state}', join(root))
    return JSON.parse(text).deployment
  },
}
