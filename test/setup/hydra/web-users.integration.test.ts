import { mkdirSync, writeFileSync } from 'node:fs'
import { userInfo } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { hydraUserAdmin } from '../../../src/setup/hydra/user-admin.js'
import { LocalShellHost } from '../../fakes/local-shell-host.js'
import { taskMachine, taskRun } from '../../fakes/task-run.js'
import { type PrivatePostgres, startPostgres } from '../../hydra/private-postgres.js'
import { StandIns } from '../../hydra/stand-in-packages.js'

/**
 * The stand-ins for the real scripts, with a real PostgreSQL. The stand-in for hydra-create-user stores the same data
 * as the real script (a test repeats its recorded session). The tester plays all of Hydra's Unix users.
 */
const standIns = new StandIns()
let postgres: PrivatePostgres
let host: LocalShellHost
const run = taskRun()

beforeAll(async () => {
  postgres = startPostgres()
  await standIns.build('hydra')
  const bin = join(standIns.nix.folder, 'bin')
  mkdirSync(bin)
  const standIn = (name: string, body: string) =>
    writeFileSync(join(bin, name), `#!/bin/sh\n${body}\n`, { mode: 0o755 })
  standIn('pg_lsclusters', `echo "15 main 5432 online ${userInfo().username} /data /log"`)
  standIn('runuser', 'shift 3; exec "$@"')
  for (const [name, value] of Object.entries(postgres.env)) vi.stubEnv(name, value)
  host = new LocalShellHost({ bin, moved: { '/var/lib/hydra': standIns.data } })
})
afterAll(async () => {
  vi.unstubAllEnvs()
  await standIns.dispose()
  postgres?.stop()
})
beforeEach(() => {
  host.seen.length = 0
})
afterEach(() => postgres.recreate())

function admin() {
  const users = hydraUserAdmin(taskMachine({ hydra: { enable: true } }), dirname(standIns.bin('hydra')))
  if (users === undefined) throw new Error('no Hydra is wanted')
  return users
}

async function initialised() {
  const env = await standIns.env({ ...postgres.env, HYDRA_DBI: 'dbi:Pg:dbname=hydra;user=hydra;' })
  expect(standIns.run('hydra', ['hydra-init'], env).status).toBe(0)
}

const hash = (name: string) => postgres.sql(`select password from users where username = '${name}'`).trim()

const bob = {
  ...{ name: 'bob', fullName: 'Bob "B" $(false) Ü', emailAddress: 'bob@example.org' },
  ...{ roles: ['cancel-build', 'restart-jobs'], password: 'pä"s\'s \\ $(false) `x` %n' },
}

describe('the list of users of a Hydra', () => {
  it('is created with all requested fields, and read back', async () => {
    await initialised()
    await admin().change(host, bob, run)
    const { password, ...rest } = bob
    expect(await admin().list(host, run)).toEqual([{ ...rest, canLogin: true }])
    expect(hash('bob')).toMatch(/^\$argon2id\$/)
    expect(JSON.stringify(host.seen) + run.lines.join('\n')).not.toContain(password.slice(0, 4))
  })

  it('keeps name, mail, roles and password when no option sets them', async () => {
    await initialised()
    await admin().change(host, bob, run)
    const before = hash('bob')
    await admin().change(host, { name: 'bob', roles: ['admin'] }, run)
    expect(hash('bob')).toBe(before)
    await admin().change(host, { name: 'bob', password: 'another' }, run)
    expect(hash('bob')).not.toBe(before)
    expect(await admin().list(host, run)).toEqual([
      {
        ...{ name: 'bob', fullName: bob.fullName, emailAddress: bob.emailAddress },
        roles: ['admin'],
        canLogin: true,
      },
    ])
  })

  it('is sorted by name, and a user without a password cannot log in', async () => {
    await initialised()
    for (const name of ['zoe', 'amy']) await admin().change(host, { name, roles: [] }, run)
    const seen = await admin().list(host, run)
    expect(seen.map(({ name, canLogin }) => [name, canLogin])).toEqual([
      ['amy', false],
      ['zoe', false],
    ])
  })

  it('is an error, not empty, before there is a database', async () => {
    await expect(admin().list(host, run)).rejects.toMatchObject({
      exitCode: 1,
      message:
        "machine 'local': cannot read the users of Hydra: the database hydra lacks the tables of Hydra",
      hint: expect.stringContaining('hydra-init'),
    })
    await expect(admin().change(host, bob, run)).rejects.toMatchObject({
      message: expect.stringContaining("make Hydra's user 'bob'"),
      detail: expect.stringContaining('relation "users" does not exist'),
    })
  })
})

it('a machine that wants no Hydra has no users', () => {
  expect(hydraUserAdmin(taskMachine({}), undefined)).toBeUndefined()
})
