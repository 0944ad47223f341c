import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { bindTask } from '../../../src/core/setup-task.js'
import { withRule } from '../../../src/setup/postgresql/access-files.js'
import { postgresqlTask } from '../../../src/setup/postgresql/task.js'
import { LocalShellHost } from '../../fakes/local-shell-host.js'
import { taskMachine, taskRun } from '../../fakes/task-run.js'
import { PostgresqlCluster } from '../../fixtures/postgresql.js'
import { taskContract } from '../task-contract.js'

let root: string
let cluster: PostgresqlCluster
let host: LocalShellHost
let debianHba: string
const run = taskRun()

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'ho-pg-'))
  cluster = new PostgresqlCluster(root)
  debianHba = 'local all all peer\nhost all all 127.0.0.1/32 scram-sha-256\n'
  mkdirSync(join(root, 'systemd'))
  vi.stubEnv('PGHOST', root)
  host = new LocalShellHost({ bin: cluster.bin, moved: { '/etc/systemd/system': join(root, 'systemd') } })
})
afterAll(() => {
  vi.unstubAllEnvs()
  cluster?.stop()
  rmSync(root, { recursive: true, force: true })
})

/** Creates the wanted task; the tester plays all of Hydra's users, which only a guest has. */
function wanted(database: Record<string, unknown> = {}) {
  const identMap = `hydra-users ${cluster.owner} hydra\nhydra-users ${cluster.owner} ${cluster.owner}`
  const task = bindTask(postgresqlTask)(
    taskMachine({ hydra: { enable: true, database: { identMap, ...database } } }),
  )
  if (task === undefined) throw new Error('the postgresql task is not wanted')
  return task
}

function fresh(): void {
  cluster.write('pg_hba.conf', debianHba)
  cluster.write('pg_ident.conf', '# MAPNAME SYSTEM-USERNAME PG-USERNAME\n')
  cluster.reload()
  cluster.sql('drop database if exists hydra')
  cluster.sql('drop role if exists hydra')
}

const psql = (statement: string, database = 'postgres') =>
  `psql -X -q -p ${cluster.port} -d ${database} -c "${statement}" > /dev/null`

describe('the postgresql task with a real PostgreSQL', () => {
  beforeEach(fresh)

  taskContract(() => ({
    host,
    task: wanted(),
    verifiable: true,
    placesFiles: true,
    realPath: (path) => path.replace(cluster.data, '/etc/postgresql/15/main'),
    reset: `
${psql('drop database if exists hydra')} && ${psql('drop role if exists hydra')}
printf '${debianHba.replaceAll('\n', '\\n')}' > ${cluster.data}/pg_hba.conf; : > ${cluster.data}/pg_ident.conf
${psql('select pg_reload_conf()')}`,
    damages: {
      'rules as Debian has them': `printf '${debianHba.replaceAll('\n', '\\n')}' > ${cluster.data}/pg_hba.conf; ${psql('select pg_reload_conf()')}`,
      'not restarted when it is killed': `rm ${root}/systemd/postgresql@.service.d/hydra.conf`,
      'map gone': `: > ${cluster.data}/pg_ident.conf`,
      'database gone': psql('drop database hydra'),
      'owner of the database changed': psql('alter database hydra owner to current_user'),
      'pg_trgm dropped': psql('drop extension pg_trgm', 'hydra'),
    },
  }))

  it('keeps databases, roles and rules of others', async () => {
    const theirs = 'local app app peer map=app\n'
    cluster.write('pg_hba.conf', `${theirs}${debianHba}`)
    cluster.write('pg_ident.conf', `app ${cluster.owner} app\n`)
    cluster.reload()
    cluster.sql('create role app login')
    cluster.sql('create database app owner app')
    await wanted().apply(host, run)
    expect(cluster.file('pg_hba.conf').endsWith(`${theirs}${debianHba}`)).toBe(true)
    expect(cluster.sql("select count(*) from pg_database where datname in ('app', 'hydra')")).toBe('2')
    expect(await wanted().probe(host, run)).toBe('done')
    cluster.sql('drop database app')
    cluster.sql('drop role app')
  })

  it('keeps a file’s bytes, owner and mode, and the target of a link', async () => {
    const latin1 = Buffer.concat([Buffer.from('# für Änderungen\n', 'latin1'), Buffer.from(debianHba)])
    const real = join(root, 'managed-elsewhere.conf')
    writeFileSync(real, latin1, { mode: 0o604 })
    chmodSync(real, 0o604)
    rmSync(join(cluster.data, 'pg_hba.conf'))
    symlinkSync(real, join(cluster.data, 'pg_hba.conf'))
    cluster.reload()
    await wanted().apply(host, run)
    expect(readFileSync(real).subarray(-latin1.length)).toEqual(latin1)
    expect((statSync(real).mode & 0o777).toString(8)).toBe('604')
    expect(lstatSync(join(cluster.data, 'pg_hba.conf')).isSymbolicLink()).toBe(true)
    rmSync(join(cluster.data, 'pg_hba.conf'))
  })

  it('puts its rule before a foreign rule that would refuse Hydra, which stays', async () => {
    cluster.write('pg_hba.conf', `local hydra all reject\nlocal all all peer\n`)
    cluster.reload()
    await wanted().apply(host, run)
    await wanted().verify(host, run)
    expect(cluster.file('pg_hba.conf')).toMatch(/^local hydra all ident .*\nlocal hydra all reject\nlocal/)
  })

  it('fixes a line of its own that PostgreSQL rejects, as a crash may leave it', async () => {
    cluster.write('pg_hba.conf', withRule(debianHba, 'local hydra all nonsense'))
    await wanted().apply(host, run)
    expect(cluster.file('pg_hba.conf')).toBe(withRule(debianHba, 'local hydra all ident map=hydra-users'))
  })

  it('never drops the content of the database', async () => {
    await wanted().apply(host, run)
    cluster.sql('create table precious (n int)', 'hydra')
    cluster.write('pg_hba.conf', debianHba)
    await wanted().apply(host, run)
    expect(cluster.sql('select count(*) from precious', 'hydra')).toBe('0')
  })

  it('reports a lost database when the rules exist and the database does not', async () => {
    await wanted().apply(host, run)
    cluster.sql('drop database hydra')
    expect(await wanted().probe(host, run)).toEqual({ drifted: 'the database hydra is missing', lost: true })
  })

  it('names the faulty line of a file that PostgreSQL cannot read, and changes nothing', async () => {
    const broken = `local all all identt\n${debianHba}`
    cluster.write('pg_hba.conf', broken)
    await expect(wanted().apply(host, run)).rejects.toThrow(
      /pg_hba\.conf line 1: .*identt.*; it was not touched/,
    )
    expect(cluster.file('pg_hba.conf')).toBe(broken)
  })

  it('refuses files with the line ends of Windows', async () => {
    const windows = debianHba.replaceAll('\n', '\r\n')
    cluster.write('pg_hba.conf', windows)
    await expect(wanted().apply(host, run)).rejects.toMatchObject({
      message: expect.stringContaining('(CRLF); it was not touched'),
      hint: expect.stringContaining('sed -i'),
    })
    expect(cluster.file('pg_hba.conf')).toBe(windows)
  })

  it('restores the files when PostgreSQL rejects the content of the options', async () => {
    const task = wanted({ authentication: 'local hydra all nonsense' })
    await expect(task.apply(host, run)).rejects.toThrow('the old files were restored')
    expect(cluster.file('pg_hba.conf')).toBe(debianHba)
  })

  it('starts a cluster that is down', async () => {
    await wanted().apply(host, run)
    cluster.stop()
    expect(await wanted().probe(host, run)).toEqual({
      drifted: expect.stringMatching(/^the cluster .* is down$/),
    })
    await wanted().apply(host, run)
    expect(await wanted().probe(host, run)).toBe('done')
  })

  it('finds the port, and reports it', async () => {
    expect(await wanted().apply(host, run)).toMatchObject({ port: '5499', database: 'hydra' })
  })
})

describe('the postgresql task', () => {
  it('is wanted only with a Hydra', () => {
    expect(bindTask(postgresqlTask)(taskMachine())).toBeUndefined()
  })

  it('needs no option of its own', () => {
    const task = bindTask(postgresqlTask)(taskMachine({ hydra: { enable: true } }))
    expect(JSON.parse(task?.inputs ?? '')).toMatchObject({
      rule: 'local hydra all ident map=hydra-users',
      users: ['hydra', 'hydra-queue-runner', 'hydra-www', 'root'],
    })
  })
})
