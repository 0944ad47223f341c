import { cpSync, mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { DeploymentUuid, MachineName } from '../../src/core/names.js'

const folder = fileURLToPath(new URL('../fixtures/state/schema-3', import.meta.url))

/** The state that hydra-ops with schema 3 wrote: a file for each machine, and the tasks by their former names. */
export const schema3 = {
  uuid: DeploymentUuid.parse('0b7c3d1e-1111-4a2b-9c3d-000000000001'),
  web: MachineName.parse('web'),
  db: MachineName.parse('db'),
  /** Copies the files into the folder of a deployment. */
  copyTo(deployment: string): void {
    mkdirSync(dirname(deployment), { recursive: true, mode: 0o700 })
    cpSync(folder, deployment, { recursive: true })
  },
}
