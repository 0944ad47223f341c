import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { bindTask, type WantedTask } from '../../../src/core/setup-task.js'
import { adminUserTask } from '../../../src/setup/hydra/web-users-task.js'
import { LocalShellHost } from '../../fakes/local-shell-host.js'
import { taskMachine, taskRun } from '../../fakes/task-run.js'
import { freePort } from '../../fixtures/free-port.js'
import { type PrivatePostgres, startPostgres } from '../../hydra/private-postgres.js'
import { StandIns } from '../../hydra/stand-in-packages.js'
import { taskContract } from '../task-contract.js'

/**
 * The stand-ins for hydra-create-user and hydra-server, which work with a real PostgreSQL. hydra-server must accept the
 * stored passwords at login. The tester plays all of Hydra's Unix users.
 */
const standIns = new StandIns()
let postgres: PrivatePostgres
let root: string
let host: LocalShellHost
let port: number

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'ho-users-'))
  postgres = startPostgres()
  await standIns.build('hydra')
  for (const [name, value] of Object.entries(postgres.env)) vi.stubEnv(name, value)
  program('pg_lsclusters', 'echo "15 main 5432 online nobody /data /log"')
  program('runuser', 'shift 3; exec "$@"')
  const moved = { '/var/lib/hydra': standIns.data, '/nix/store': standIns.nix.real('/nix/store') }
  host = new LocalShellHost({ bin: join(root, 'bin'), moved })
  const env = await standIns.env({ ...postgres.env, HYDRA_DBI: 'dbi:Pg:dbname=hydra;user=hydra;' })
  writeFileSync(join(standIns.data, 'hydra.conf'), 'using_frontend_proxy = 1\n')
  expect(standIns.run('hydra', ['hydra-init'], env).status).toBe(0)
  port = await freePort()
  await standIns.start('hydra', ['hydra-server', '-h', '127.0.0.1', '-p', `${port}`], env, async (daemon) =>
    daemon.log.includes('Accepting connections'),
  )
})
afterAll(async () => {
  vi.unstubAllEnvs()
  await standIns.dispose()
  postgres?.stop()
  rmSync(root, { recursive: true, force: true })
})

function program(name: string, body: string): void {
  mkdirSync(join(root, 'bin'), { recursive: true })
  writeFileSync(join(root, 'bin', name), `#!/bin/sh\n${body}\n`, { mode: 0o755 })
}

const alice = { userName: 'alice', fullName: 'Alice Q. User', emailAddress: 'alice@example.org' }

function wanted(more: Record<string, unknown> = {}): WantedTask {
  const admin = { ...alice, password: { prompt: true } }
  const path = dirname(standIns.bin('hydra')).slice(standIns.nix.real('').length)
  const hydra = { enable: true, package: path, url: `http://127.0.0.1:${port}`, port, admin, ...more }
  const task = bindTask(adminUserTask)(taskMachine({ hydra }))
  if (task === undefined) throw new Error('the admin-user task is not wanted')
  return task
}

const emptyTables = 'delete from userroles; delete from users'
const psql = (statement: string) => `psql -XqAt -U hydra -d hydra -c "${statement}" > /dev/null`

describe('the admin-user task', () => {
  taskContract(() => ({
    host,
    task: wanted(),
    run: taskRun({ 'hydra-user-alice': 'hunter2' }),
    // Each login takes 256 MiB and some time; the logins in the tests of passwords below suffice.
    verifiable: false,
    reset: psql(emptyTables),
    damages: {
      'role taken away': psql('delete from userroles'),
      'role added': psql("insert into userroles values ('alice', 'restart-jobs')"),
      'name changed': psql("update users set fullname = 'Mallory'"),
      'mail changed': psql("update users set emailaddress = 'mallory@example.org'"),
    },
  }))
})

describe('a list of users that the database does not tell', () => {
  beforeEach(() => {
    postgres.sql(emptyTables)
  })

  const hash = () => postgres.sql("select password from users where username = 'alice'")

  it.each<[string, string, () => void, () => void]>([
    [
      'a server that hangs',
      'PostgreSQL did not answer within 60 s',
      () => program('timeout', 'exit 124'),
      () => rmSync(join(root, 'bin', 'timeout')),
    ],
    [
      'a table that cannot be read, after a warning of the server',
      'ERROR: column "fullname" does not exist',
      () => {
        program('timeout', 'echo "WARNING:  database has a collation version mismatch" >&2; shift; exec "$@"')
        postgres.sql('alter table users rename fullname to wholename')
      },
      () => {
        rmSync(join(root, 'bin', 'timeout'))
        postgres.sql('alter table users rename wholename to fullname')
      },
    ],
  ])('is not empty, so nobody gets a new password: %s', async (_, reason, damage, mend) => {
    const run = () => taskRun({ 'hydra-user-alice': 'hunter2' })
    await wanted().apply(host, run())
    const before = hash()
    damage()
    try {
      expect(await wanted().probe(host, run())).toBe('needed')
      await expect(wanted().apply(host, run())).rejects.toMatchObject({
        code: 'POSTGRESQL',
        message: `machine 'local': cannot read the users of Hydra: the database hydra cannot be queried: ${reason}`,
      })
    } finally {
      mend()
    }
    expect(hash()).toBe(before)
  })
})

describe('a password', () => {
  beforeEach(() => {
    postgres.sql(emptyTables)
  })

  const passwords: Readonly<Record<string, string>> = {
    ascii: Array.from({ length: 95 }, (_, index) => String.fromCharCode(32 + index)).join(''),
    long: 'x'.repeat(200),
    'long-and-wide': 'ä€𝄞ß'.repeat(50),
    blanks: '  hunter2  ',
    option: '--password-hash',
    controls: 'a\tb\u0001c\u007f',
  }

  it('opens Hydra whatever characters it has, and is shown nowhere', async () => {
    const users = Object.fromEntries(
      Object.keys(passwords).map((name) => [name, { password: { prompt: true } }]),
    )
    const secrets = Object.fromEntries(
      Object.entries(passwords).map(([name, password]) => [`hydra-user-${name}`, password]),
    )
    const run = taskRun(secrets)
    const task = wanted({ admin: null, users })
    await task.apply(host, run)
    await task.verify(host, run)
    const shown = run.lines.join() + JSON.stringify(host.seen)
    for (const password of Object.values(passwords)) expect(shown).not.toContain(password)
  }, 900_000)

  it('is refused when it is wrong, and the error does not show it', async () => {
    await wanted().apply(host, taskRun({ 'hydra-user-alice': 'hunter2' }))
    const wrong = taskRun({ 'hydra-user-alice': 'hunter3' })
    const refused = await wanted()
      .verify(host, wrong)
      .catch((error: unknown) => error)
    expect(String(refused)).toContain("user 'alice' cannot log in")
    expect(String(refused) + JSON.stringify(refused)).not.toContain('hunter')
  })

  it('stays unchanged when only a name changes', async () => {
    await wanted().apply(host, taskRun({ 'hydra-user-alice': 'hunter2' }))
    const hash = () => postgres.sql("select password from users where username = 'alice'")
    const before = hash()
    const changed = wanted({ admin: { ...alice, fullName: 'Alice', password: { prompt: true } } })
    await changed.apply(host, taskRun({}, ['hydra-user-alice']))
    expect(postgres.sql("select fullname from users where username = 'alice'").trim()).toBe('Alice')
    expect(hash()).toBe(before)
  })

  it('is not a reason to touch another user', async () => {
    postgres.sql("insert into users (username, emailaddress, password) values ('carol', '', 'kept')")
    await wanted().apply(host, taskRun({ 'hydra-user-alice': 'hunter2' }))
    expect(postgres.sql("select password from users where username = 'carol'").trim()).toBe('kept')
  })
})
