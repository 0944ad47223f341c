import { spawnSync } from 'node:child_process'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type PrivatePostgres, startPostgres } from './private-postgres.js'
import { readTranscript } from './recordings.js'
import { type Ended, type StandIn, StandIns } from './stand-in-packages.js'
import { comparableOutput, comparableTable, readSteps } from './transcript.js'

const standIns = new StandIns()
let postgres: PrivatePostgres | undefined
const dbi = 'dbi:Pg:dbname=hydra;user=hydra;'

beforeAll(async () => {
  postgres = startPostgres()
  await standIns.build('hydra', 'hydra-database-url')
})

afterEach(() => {
  database().admit(true)
  database().recreate()
})

afterAll(async () => {
  await standIns.dispose()
  postgres?.stop()
})

function database(): PrivatePostgres {
  if (postgres === undefined) throw new Error('PostgreSQL did not start')
  return postgres
}

async function run(
  argv: readonly string[],
  more: Record<string, string> = {},
  name: StandIn = 'hydra',
  stdin = '',
): Promise<Ended> {
  const variables = name === 'hydra' ? { HYDRA_DBI: dbi } : { HYDRA_DATABASE_URL: url('hydra@') }
  return standIns.run(name, argv, await standIns.env({ ...database().env, ...variables, ...more }), stdin)
}

/** Returns a URL whose host is the socket's folder. */
const url = (account: string) => `postgres://${account}${encodeURIComponent(database().socket)}:5432/hydra`

const said = ({ stdout, stderr }: Ended) => comparableOutput(stdout + stderr)

const usersQuery =
  'select username, fullname, emailaddress, left(password, 40) as pw40, length(password) as len, type from users order by username'
const rolesQuery = 'select username, role from userroles order by username, role'

/** The recorded commands of hydra-create-user that are not repeated here, by their first words. */
const notRepeated: readonly (readonly [command: string, reason: string])[] = [
  ['hydra-create-user --help', 'the help text is not copied from Hydra'],
]

/**
 * The accounts that the recorded session created on a terminal or as root. The test creates them before the given
 * command.
 */
const doneOtherwise: readonly (readonly [before: string, name: string])[] = [
  ['hydra-create-user', 'frank'],
  ["hydra-create-user alice --full-name ''", 'rooty'],
]

describe('hydra-create-user', () => {
  it('prints and stores the data of the recorded session, step by step', async () => {
    await run(['hydra-init'])
    const steps = readSteps(readTranscript('hydra-create-user'))
    expect(steps.length).toBe(31)
    const env = await standIns.env({ ...database().env, HYDRA_DBI: dbi })
    const repeated: string[] = []
    for (const { command, output, status, tables } of steps) {
      for (const [before, name] of doneOtherwise)
        if (command === before)
          await run(
            [
              'hydra-create-user',
              name,
              '--role',
              'admin',
              ...(name === 'frank' ? ['--password-prompt'] : []),
            ],
            {},
            'hydra',
            'x\nx\n',
          )
      if (notRepeated.some(([start]) => command.startsWith(start))) continue
      const ended = spawnSync('sh', ['-c', `(${command}) 2>&1`], {
        env: { ...env, PATH: `${standIns.bin('hydra')}:/usr/bin:/bin` },
        encoding: 'utf8',
      })
      expect({ command, output: comparableOutput(ended.stdout), status: ended.status }).toEqual({
        command,
        output,
        status,
      })
      const seen = [usersQuery, rolesQuery].slice(0, tables.length).map((query) => database().table(query))
      expect(seen.map(comparableTable)).toEqual(tables.map(comparableTable))
      repeated.push(command)
    }
    expect(repeated.length).toBe(steps.length - notRepeated.length)
  })

  it('refuses an operating system user who is not in the map', async () => {
    database().admit(false)
    const ended = await run(['hydra-create-user', 'alice'])
    expect(ended.status).toBe(255)
    expect(said(ended)).toBe(
      `DBIx::Class::Storage::DBI::catch {...} (): DBI Connection failed: DBI connect('dbname=hydra;user=hydra;','',...) failed: connection to server on socket ".s.PGSQL.5432" failed: FATAL:  Peer authentication failed for user "hydra"`,
    )
  })

  it('names the missing table before hydra-init ran', async () => {
    const ended = await run(['hydra-create-user', 'alice', '--role', 'admin'])
    expect(ended.status).toBe(255)
    expect(said(ended)).toContain('DBD::Pg::st execute failed: ERROR:  relation "users" does not exist')
  })
})

describe('hydra-init', () => {
  it('creates the recorded tables, and is silent the second time', async () => {
    const first = await run(['hydra-init'])
    expect([first.status, said(first)]).toEqual([0, 'initialising the Hydra database schema...'])
    const second = await run(['hydra-init'])
    expect([second.status, said(second)]).toEqual([0, ''])
    const tables = /^ public \| (\w+) +\| table \| hydra$/gm
    const recorded = [...readTranscript('hydra-init').matchAll(tables)].map(([, name]) => name)
    expect(recorded.length).toBe(36)
    expect([...database().table('\\dt').matchAll(tables)].map(([, name]) => name)).toEqual(recorded)
  })

  it('ends with 2 and the socket’s name when the database is down', async () => {
    const ended = await run(['hydra-init'], { PGPORT: '5999' })
    const recorded = /## DB down \(other port\)\n([\s\S]*?)rc=2/.exec(readTranscript('hydra-init'))?.[1] ?? ''
    expect([ended.status, said(ended)]).toEqual([2, comparableOutput(recorded)])
  })

  it('ends with 255 for a user who is not in the map', async () => {
    database().admit(false)
    const ended = await run(['hydra-init'])
    const recorded =
      /## hydra-init as an unmapped user\n([\s\S]*?)rc=255/.exec(readTranscript('hydra-init'))?.[1] ?? ''
    expect([ended.status, said(ended).replace('5432', '5433')]).toEqual([255, comparableOutput(recorded)])
  })

  it('does not need HYDRA_DATA', async () => {
    expect((await run(['hydra-init'], { HYDRA_DATA: '/nonexistent' })).status).toBe(0)
  })

  it('brings an older schema to this version with the recorded statements', async () => {
    await run(['hydra-init'])
    database().sql(
      'alter table buildsteps drop constraint buildsteps_resolved_consistent, drop column resolveddrvpath, alter column drvpath drop not null; update schemaversion set version = 85;',
    )
    const ended = await run(['hydra-init'])
    const recorded = readSteps(readTranscript('hydra-head-and-migration')).find(({ output }) =>
      output.startsWith('upgrading'),
    )
    expect([ended.status, said(ended)]).toEqual([recorded?.status, recorded?.output])
    expect(database().sql('select version from schemaversion').trim()).toBe('87')
    expect(said(await run(['hydra-init']))).toBe('')
  })

  it('leaves a schema that cannot be upgraded unchanged, and says so', async () => {
    await run(['hydra-init'])
    // The column of a later schema already exists.
    database().sql('update schemaversion set version = 86')
    const ended = await run(['hydra-init'])
    expect(ended.status).toBe(255)
    expect(said(ended)).toContain('column "resolveddrvpath" of relation "buildsteps" already exists')
    expect(database().sql('select version from schemaversion').trim()).toBe('86')
  })
})

describe('the generation that reads HYDRA_DATABASE_URL', () => {
  const name = 'hydra-database-url'

  it('accepts an address with an application’s name', async () => {
    const ended = await run(
      ['hydra-init'],
      { HYDRA_DATABASE_URL: `${url('hydra@')}?application_name=hydra-init` },
      name,
    )
    expect([ended.status, said(ended)]).toEqual([0, 'initialising the Hydra database schema...'])
  })

  it('refuses another kind of database', async () => {
    const ended = await run(['hydra-init'], { HYDRA_DATABASE_URL: 'mysql://x/y' }, name)
    expect([ended.status, said(ended)]).toEqual([
      255,
      '$HYDRA_DATABASE_URL does not denote a PostgreSQL database',
    ])
  })

  it('ignores HYDRA_DBI without a word', async () => {
    const variables = { HYDRA_DATABASE_URL: '', HYDRA_DBI: dbi, PGHOST: '/nonexistent' }
    const ended = await run(['hydra-create-user', 'alice'], variables, name)
    expect(ended.status).toBe(2)
    expect(said(ended)).toContain(`DBI connect('dbname=hydra','',...) failed: connection to server on socket`)
  })

  it('sends no statistics without the address of the queue runner, and warns each time', async () => {
    const ended = await run(['hydra-send-stats', '--once'], {}, name)
    expect([ended.status, said(ended)]).toEqual([0, 'queue_runner_endpoint not configured in hydra.conf'])
    const env = await standIns.env({ HYDRA_STAND_IN_POLL_SECONDS: '0.1' })
    const sender = await standIns.start(
      name,
      ['hydra-send-stats'],
      env,
      async ({ log }) => log.split('not configured').length > 2,
    )
    expect(sender.status).toBeNull()
  })
})

it('each program names itself a stand-in', async () => {
  for (const program of [
    'hydra-init',
    'hydra-server',
    'hydra-evaluator',
    'hydra-queue-runner',
    'hydra-create-user',
  ])
    expect((await run([program, '--version'])).stdout).toContain('stand-in for Hydra, not Hydra itself')
})
