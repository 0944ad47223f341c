import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { deploy } from '../../src/deploy/deploy.js'
import { destroyMachines } from '../../src/operations/destroy.js'
import { generatedPassword } from '../../src/operations/hydra.js'
import { runFakeDebian } from '../fakes/fake-debian.js'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import { createFakeOps, type FakeOps, rememberNetwork } from '../fakes/fake-ops.js'
import { createFakeSecrets, type FakeSecrets } from '../fakes/fake-secrets.js'
import { fakeTask } from '../fakes/fake-task.js'
import { standardRequest } from '../fakes/standard-request.js'

let ops: FakeOps
let secrets: FakeSecrets
/** The secrets that a task received. */
let given: string[]

const password = {
  name: 'hydra-user-alice',
  what: "password of Hydra's user 'alice'",
  source: { prompt: false, generate: true },
}

beforeEach(async () => {
  given = []
  ops = await createFakeOps({ network: fakeNetwork([fakeMachine('web'), fakeMachine('db')]) })
  secrets = createFakeSecrets(join(ops.folder, 'key-files'))
  const task = fakeTask('make-user', {
    probe: async () => (given.length < 2 ? 'needed' : 'done'),
    secrets: () => [password],
    apply: async (_host, _options, { secret }) => {
      given.push(await secret(password.name))
      return {}
    },
  })
  Object.assign(ops, { secrets, tasks: async () => [task] })
  runFakeDebian(ops)
  await rememberNetwork(ops)
})
afterEach(() => ops.cleanup())

/** Returns the text of every file in the state. */
const stateFiles = () =>
  readdirSync(ops.files.root, { recursive: true, withFileTypes: true }).flatMap((entry) =>
    entry.isFile() ? [readFileSync(join(entry.parentPath, entry.name), 'latin1')] : [],
  )

describe('secrets that are kept elsewhere than in the state folder', () => {
  it('are made there by a deploy, and the state folder has neither them nor a folder of keys', async () => {
    await deploy(ops, standardRequest)
    const { uuid } = await ops.store.resolve('net')
    expect([...secrets.kept.keys()].sort()).toEqual(
      ['hash', 'db hydra-user-alice', 'web hydra-user-alice'].map((name) => `${uuid} ${name}`).sort(),
    )
    expect(new Set(given)).toEqual(
      new Set(['db', 'web'].map((machine) => secrets.kept.get(`${uuid} ${machine} hydra-user-alice`))),
    )
    expect(readdirSync(ops.files.paths(uuid).root)).not.toContain('keys')
    for (const secret of secrets.kept.values())
      expect(stateFiles().filter((text) => text.includes(secret))).toEqual([])
  })

  it('are the same at the next deploy, so that nothing runs again', async () => {
    await deploy(ops, standardRequest)
    const before = new Map(secrets.kept)
    const { results } = await deploy(ops, standardRequest)
    expect(results.map(({ outcome }) => outcome)).toEqual(['unchanged', 'unchanged'])
    expect(secrets.kept).toEqual(before)
  })

  it('are not made by a dry run', async () => {
    await deploy(ops, { ...standardRequest, dryRun: true })
    expect(secrets.kept).toEqual(new Map())
  })

  it('are shown by hydra password, and forgotten with their machine alone', async () => {
    await deploy(ops, standardRequest)
    const { uuid } = await ops.store.resolve('net')
    expect(given).toContain(await generatedPassword(ops, undefined, 'alice'))
    await destroyMachines(ops, { deployment: 'net', selection: { on: 'web' }, yes: true, maxConcurrent: 3 })
    expect([...secrets.kept.keys()].sort()).toEqual([`${uuid} db hydra-user-alice`, `${uuid} hash`])
  })
})
