import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type HydraSettings, hydraSettings } from '../../../src/setup/hydra/settings.js'
import { waitForWeb } from '../../../src/setup/hydra/task.js'
import { LocalShellHost } from '../../fakes/local-shell-host.js'
import { taskMachine, taskRun } from '../../fakes/task-run.js'
import { freePort } from '../../fixtures/free-port.js'
import { type PrivatePostgres, startPostgres } from '../../hydra/private-postgres.js'
import { StandIns } from '../../hydra/stand-in-packages.js'

const standIns = new StandIns()
/** A pace without looks at the journal, which does not exist here. */
const pace = { pauseMs: 50, everyMs: 600_000, apartMs: 600_000 }
let postgres: PrivatePostgres | undefined
let settings: HydraSettings

beforeAll(async () => {
  postgres = startPostgres()
  await standIns.build('hydra')
  const found = hydraSettings(taskMachine({ hydra: { enable: true, port: await freePort() } }))
  if (found === undefined) throw new Error('no Hydra is wanted')
  settings = found
})

afterAll(async () => {
  await standIns.dispose()
  postgres?.stop()
})

it('the wait for a web server goes on while the server loads, and the log reports its state once', async () => {
  const { port } = settings.options
  const loaded = join(standIns.data, 'loaded')
  const env = await standIns.env({
    ...postgres?.env,
    HYDRA_DBI: 'dbi:Pg:dbname=hydra;user=hydra;',
    HYDRA_STAND_IN_START_AFTER: loaded,
  })
  expect(standIns.run('hydra', ['hydra-init'], env)).toMatchObject({ status: 0 })
  const argv = ['hydra-server', '-f', '-h', '127.0.0.1', '-p', `${port}`]
  const server = await standIns.start('hydra', argv, env, async () => true)
  const run = taskRun()
  let looks = 0
  const counting: typeof run = {
    ...run,
    connect: (...given) => {
      looks += 1
      return run.connect(...given)
    },
  }
  const waited = waitForWeb(new LocalShellHost({ bin: standIns.bin('hydra') }), settings, counting, pace)
  await server.until('the third look began', () => looks >= 3)
  expect(run.lines).toEqual([
    expect.stringMatching(
      new RegExp(`^waiting until Hydra's web server answers on port ${port}: .*ECONNREFUSED`),
    ),
  ])
  expect(server.log).not.toContain('Accepting connections')
  writeFileSync(loaded, '')
  await waited
  await server.until('it says that it listens', () => server.log.includes('Accepting connections'))
})
