import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'

/** A separate PostgreSQL: no network, a socket in its folder, peer authentication with Hydra's ident map. */
export interface PrivatePostgres {
  /** The folder of the socket. */
  readonly socket: string
  /** The variables with which libpq finds the server. */
  readonly env: Readonly<Record<string, string>>
  /** Runs statements as the role `hydra` in the database `hydra`; returns unaligned rows. */
  sql(text: string): string
  /** Returns a table as psql prints it in the transcripts. */
  table(query: string): string
  /** Lets the current Unix user act as `hydra`, or refuses this user. */
  admit(isMapped: boolean): void
  /** Recreates the database `hydra` without any content. */
  recreate(): void
  /** Stops the server, and keeps its data for a later start. */
  down(): void
  up(): void
  stop(): void
}

const versions = '/usr/lib/postgresql'

export function startPostgres(): PrivatePostgres {
  const bin = binaries()
  const folder = mkdtempSync(join(tmpdir(), 'hydra-pg-'))
  const data = join(folder, 'data')
  const socket = join(folder, 'run')
  mkdirSync(socket)
  const env = { PGHOST: socket, PGPORT: '5432' }
  const run = (program: string, args: readonly string[], input?: string) =>
    execFileSync(join(bin, program), args, {
      encoding: 'utf8',
      env: { ...process.env, ...env, LC_ALL: 'C.UTF-8' },
      stdio: ['pipe', 'pipe', 'pipe'],
      ...(input === undefined ? {} : { input }),
    })
  run('initdb', [
    '--pgdata',
    data,
    '--username',
    'postgres',
    '--auth',
    'peer',
    '--encoding',
    'UTF8',
    '--no-sync',
  ])
  const { username } = userInfo()
  const admit = (isMapped: boolean) => {
    // These lines are in nixpkgs' module too; only the map `admins` is for the test itself.
    writeFileSync(
      join(data, 'pg_hba.conf'),
      ['local hydra hydra ident map=hydra-users', 'local all postgres ident map=admins', ''].join('\n'),
    )
    writeFileSync(
      join(data, 'pg_ident.conf'),
      [`admins ${username} postgres`, ...(isMapped ? [`hydra-users ${username} hydra`] : []), ''].join('\n'),
    )
  }
  admit(true)
  const options = `-k ${socket} -p 5432 -c listen_addresses= -c fsync=off -c max_connections=50`
  const up = () => {
    run('pg_ctl', ['start', '--wait', '-D', data, '-l', join(folder, 'log'), '-o', options])
  }
  const down = () => {
    run('pg_ctl', ['stop', '--wait', '--mode', 'immediate', '-D', data])
  }
  up()
  const asAdmin = (text: string) =>
    run('psql', ['-v', 'ON_ERROR_STOP=1', '-qAt', '-U', 'postgres', '-d', 'postgres', '-f', '-'], text)
  const recreate = () => {
    asAdmin('drop database if exists hydra with (force); create database hydra owner hydra;')
    run('psql', ['-qAt', '-U', 'postgres', '-d', 'template1', '-c', 'select 1'])
  }
  asAdmin('create role hydra login;')
  recreate()
  return {
    socket,
    env,
    sql: (text) =>
      run('psql', ['-v', 'ON_ERROR_STOP=1', '-qAt', '-U', 'hydra', '-d', 'hydra', '-f', '-'], text),
    table: (query) => run('psql', ['-q', '-U', 'hydra', '-d', 'hydra', '-c', query]),
    admit(isMapped) {
      admit(isMapped)
      asAdmin('select pg_reload_conf();')
    },
    recreate,
    down,
    up,
    stop() {
      down()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** Returns Debian's folder with the programs of the newest PostgreSQL. */
function binaries(): string {
  if (process.getuid?.() === 0)
    throw new Error(
      'PostgreSQL is not running as root: run this test by scripts/test, which uses another user',
    )
  const found = existsSync(versions)
    ? readdirSync(versions).filter((each) => existsSync(`${versions}/${each}/bin/initdb`))
    : []
  const newest = found.sort((a, b) => Number(b) - Number(a))[0]
  if (newest === undefined)
    throw new Error(
      `no PostgreSQL below ${versions}: install Debian's package 'postgresql' (listed in scripts/packages)`,
    )
  return join(versions, newest, 'bin')
}
