import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { freePort } from '../fixtures/free-port.js'
import { differences } from './agreement.js'
import { notReplayed } from './not-replayed.js'
import { type PrivatePostgres, startPostgres } from './private-postgres.js'
import { jobsetStates, rowsOf } from './recorded-rows.js'
import { fillStore } from './recorded-store.js'
import { type Recording, readRecordings } from './recordings.js'
import { Replay, send } from './replay.js'
import { scenes } from './scenes.js'
import { StandIns } from './stand-in-packages.js'

const recordings = readRecordings()
const standIns = new StandIns()
const keyName = 'cache.example.org-1'
let postgres: PrivatePostgres | undefined
let replay: Replay

beforeAll(async () => {
  const database = startPostgres()
  postgres = database
  await standIns.build('hydra', 'nix-serve')
  await fillStore(standIns.nix)
  const secret = join(standIns.nix.folder, 'secret')
  await standIns.nix.nix('nix-store', ['--generate-binary-cache-key', keyName, secret, `${secret}.pub`])
  const [hydra, nixServe] = [await freePort(), await freePort()]
  const env = await standIns.env({ ...database.env, HYDRA_DBI: 'dbi:Pg:dbname=hydra;user=hydra;' })
  writeFileSync(join(standIns.data, 'hydra.conf'), 'using_frontend_proxy = 1\n')
  expect(standIns.run('hydra', ['hydra-init'], env)).toMatchObject({ status: 0 })
  makeUsers(env)
  await standIns.start('hydra', ['hydra-server', '-h', '127.0.0.1', '-p', `${hydra}`], env, () =>
    answers(hydra),
  )
  await standIns.start(
    'nix-serve',
    ['nix-serve', '--listen', `127.0.0.1:${nixServe}`, '--workers', '2'],
    // nix-serve calls `nix dump-path`, which needs the feature nix-command.
    { ...env, NIX_SECRET_KEY_FILE: secret, NIX_CONFIG: 'extra-experimental-features = nix-command' },
    () => answers(nixServe),
  )
  // The recorded headers already include nginx's changes, so no test needs nginx.
  replay = new Replay({ 3001: hydra, 8089: hydra, 5005: nixServe, 8088: nixServe })
})

afterAll(async () => {
  await standIns.dispose()
  postgres?.stop()
})

/** Creates the users that the recorded session of hydra-create-user left behind. */
function makeUsers(env: Record<string, string>): void {
  const sha1OfFoobar = '8843d7f92416211de9ebb963ff4ce28125932878'
  const prompted = (args: readonly string[]) =>
    expect(
      standIns.run('hydra', ['hydra-create-user', ...args, '--password-prompt'], env, 'foobar\nfoobar\n'),
    ).toMatchObject({ status: 0 })
  const plain = (args: readonly string[]) =>
    expect(standIns.run('hydra', ['hydra-create-user', ...args], env)).toMatchObject({ status: 0 })
  prompted([
    'alice',
    '--full-name',
    'Alice Q. User',
    '--email-address',
    'alice@example.org',
    '--role',
    'admin',
  ])
  prompted(['robert'])
  plain(['carol', '--password-hash', sha1OfFoobar, '--role', 'create-projects'])
  plain(['dave', '--password-hash', 'not-a-hash'])
  plain(['erin'])
}

async function answers(port: number): Promise<boolean> {
  try {
    return (await send(port, { method: 'GET', path: '/nix-cache-info', headers: {} })).status === 200
  } catch {
    return false
  }
}

function recorded(name: string): Recording {
  const recording = recordings.get(name)
  if (recording === undefined) throw new Error(`there is no recording ${name}`)
  return recording
}

describe('the recorded answers of the real Hydra', () => {
  const agreed: string[] = []

  it.each(scenes)(
    'are repeated by the stand-ins: $name',
    async ({ rows, sql, jobsets = [], logins = {}, exchanges }) => {
      if (rows !== undefined) postgres?.sql(rowsOf(recordings.values(), rows.places, rows.unseen))
      if (sql !== undefined) postgres?.sql(sql)
      postgres?.sql(jobsetStates(jobsets.map(recorded)))
      for (const [session, user] of Object.entries(logins)) await replay.logIn(session, user, 'foobar')
      const unexpected: string[] = []
      for (const recording of exchanges.map(recorded)) {
        const found = differences(recording, await replay.send(recording))
        if (found.length === 0) agreed.push(recording.name)
        const isListed = notReplayed.has(recording.name)
        if (isListed && found.length === 0)
          unexpected.push(`${recording.name} agrees, and is listed as one that does not`)
        if (!isListed) unexpected.push(...found)
      }
      expect(unexpected).toEqual([])
    },
  )

  it('are complete except for named recordings, and the count is known', () => {
    const told = [...agreed, ...notReplayed.keys()].sort()
    expect(told).toEqual([...recordings.keys()].sort())
    expect({ recorded: recordings.size, agree: agreed.length, differ: notReplayed.size }).toEqual({
      recorded: 325,
      agree: 325 - notReplayed.size,
      differ: notReplayed.size,
    })
  })
})

it('every page identifies itself as a stand-in, and has the form for signing in', async () => {
  const page = await replay.send({
    ...recorded('root-projects'),
    request: { ...recorded('root-projects').request, headers: { Accept: 'text/html' } },
  })
  expect(page.body).toContain('stand-in for Hydra, not Hydra itself')
  // The recording `login-form` has the data that this form sends.
  expect(page.body).toMatch(/<form method="post" action="\/login">.*"username".*"password".*<\/form>/s)
})

it('nix-serve signs with its given key', async () => {
  const { body } = await replay.send(recorded('nix-serve-direct-narinfo'))
  expect(z.string().parse(/^Sig: (\S+):/m.exec(body)?.[1])).toBe(keyName)
})
