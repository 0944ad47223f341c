import { readdirSync } from 'node:fs'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { bindTask } from '../../../src/core/setup-task.js'
import { hydraAccountsTask } from '../../../src/setup/hydra/unix-users.js'
import { findClusters } from '../../../src/setup/postgresql/cluster.js'
import { postgresqlTask } from '../../../src/setup/postgresql/task.js'
import { taskMachine, taskRun } from '../../fakes/task-run.js'
import { RootNamespace } from '../../fixtures/root-namespace.js'

// These tests use Debian's own cluster with its shipped files, and separate users for Hydra.
const run = taskRun()
const [version = ''] = readdirSync('/usr/lib/postgresql').sort((a, b) => Number(b) - Number(a))
const conf = `/etc/postgresql/${version}/main`
let machine: RootNamespace

/** The stand-in for systemctl supports the commands that the task uses. */
const systemctl = `cluster=\${2#postgresql@*-} cluster=\${cluster%.service}
case "$1 $2" in
  'is-active postgresql@'*) if pg_lsclusters -h | grep -q " $cluster .* online"; then echo active; else echo failed; fi ;;
  'start postgresql@'*) pg_ctlcluster ${version} "$cluster" start > /run/said 2>&1 || { echo 'Job failed.' >&2; exit 1; } ;;
  'is-active '*) echo active ;;
esac`

beforeAll(async () => {
  machine = await RootNamespace.start({ systemctl, journalctl: 'cat /run/said' })
  await machine.sh('useradd --system shop; useradd --system seller')
  await wanted(bindTask(hydraAccountsTask)).apply(machine.host, run)
  await machine.sh(`install -d -o postgres -g postgres /var/lib/postgresql /var/log/postgresql
install -d -m 2775 -o postgres -g postgres /run/postgresql`)
})
afterAll(async () => machine?.dispose())
beforeEach(() => fresh())

async function fresh(): Promise<void> {
  await machine.sh(
    `for cluster in $(pg_lsclusters -h | awk '{ print $2 }'); do pg_dropcluster --stop ${version} $cluster; done
pg_createcluster ${version} main -- --no-sync > /dev/null 2>&1 && pg_ctlcluster ${version} main start`,
  )
}

function wanted(bind = bindTask(postgresqlTask), database: Record<string, unknown> = {}) {
  const task = bind(taskMachine({ hydra: { enable: true, database } }))
  if (task === undefined) throw new Error('the task is not wanted')
  return task
}

async function applied(): Promise<void> {
  await wanted().apply(machine.host, run)
  await wanted().verify(machine.host, run)
  expect(await wanted().probe(machine.host, run)).toBe('done')
}

const asOwner = (statement: string) =>
  machine.sh('cd /; runuser -u postgres -- psql -XqAt -c "$1"', statement)
const reload = `runuser -u postgres -- psql -Xq -c 'select pg_reload_conf()' > /dev/null`
const enters = (user: string, role: string, database: string) =>
  machine.sh(
    'cd /; runuser -u "$1" -- psql -XAt -U "$2" -d "$3" -c "select current_user" 2>&1 || true',
    ...[user, role, database],
  )

describe('a PostgreSQL with Debian’s configuration', () => {
  it('lets in the four users of Hydra, and no fifth', async () => {
    await applied()
    for (const user of ['hydra', 'hydra-queue-runner', 'hydra-www', 'root'])
      expect(await enters(user, 'hydra', 'hydra'), user).toBe('hydra')
    for (const user of ['nobody', 'seller'])
      expect(await enters(user, 'hydra', 'hydra'), user).toContain('Peer authentication failed')
    // The superuser is mapped only to itself.
    expect(await enters('postgres', 'postgres', 'hydra')).toBe('postgres')
    expect(await enters('postgres', 'hydra', 'hydra')).toContain('Peer authentication failed')
  })

  it('is refused as no proof when it lets everybody in', async () => {
    const trusting = wanted(undefined, { authentication: 'local hydra all trust' })
    await trusting.apply(machine.host, run)
    await expect(trusting.verify(machine.host, run)).rejects.toThrow(
      'every user can log in to the database hydra as hydra',
    )
    await applied()
  })
})

const signalServer = (signal: string) =>
  machine.sh(`kill -${signal} $(head -n 1 /var/lib/postgresql/${version}/main/postmaster.pid)`)

/**
 * Freezes the server, for which the kernel still accepts connections. `timeout` then waits a second instead of a
 * minute.
 */
async function freeze(): Promise<void> {
  await machine.standIn('timeout', 'shift; exec /usr/bin/timeout 1 "$@"')
  await signalServer('STOP')
}

async function thaw(): Promise<void> {
  await signalServer('CONT')
  await machine.removeStandIn('timeout')
}

describe('a PostgreSQL that is looked at', () => {
  it('writes nothing into its log about the users who get in', async () => {
    await applied()
    const log = `/var/log/postgresql/postgresql-${version}-main.log`
    await machine.sh(`: > ${log}`)
    expect(await wanted().probe(machine.host, run)).toBe('done')
    // A session writes into the log before it leaves this view.
    const sessions = `select count(*) from pg_stat_activity
      where backend_type = 'client backend' and pid <> pg_backend_pid()`
    await expect.poll(() => asOwner(sessions), { timeout: 30_000 }).toBe('0')
    const said = await machine.sh(`cat ${log}`)
    expect(said).toContain('Peer authentication failed')
    expect(said).not.toMatch(/reset by peer|unexpected EOF|could not (receive|send)/)
  })

  it('is named as a server that gives no answer, and its database does not count as lost', async () => {
    await applied()
    await freeze()
    try {
      expect(await wanted().probe(machine.host, run)).toEqual({
        drifted: 'the database hydra cannot be queried: PostgreSQL did not answer within 60 s',
      })
    } finally {
      await thaw()
    }
    expect(await wanted().probe(machine.host, run)).toBe('done')
  })

  it('is named with the user whom it does not answer', async () => {
    await applied()
    await machine.standIn('perl', 'echo "hydra !"')
    try {
      expect(await wanted().probe(machine.host, run)).toEqual({
        drifted: 'PostgreSQL does not answer user hydra',
      })
    } finally {
      await machine.removeStandIn('perl')
    }
  })

  it('does not give its place to another cluster while it gives no answer', async () => {
    await applied()
    await machine.sh(`pg_createcluster --port 5444 ${version} other -- --no-sync > /dev/null 2>&1
pg_ctlcluster ${version} other start`)
    await freeze()
    try {
      await expect(wanted().probe(machine.host, run)).rejects.toMatchObject({
        detail: expect.stringContaining('PostgreSQL did not answer within 60 s'),
      })
    } finally {
      await thaw()
    }
  })
})

describe('the cluster of a machine', () => {
  const restart = `cd /; pg_ctlcluster ${version} main restart`
  const moveData = `pg_ctlcluster ${version} main stop; mv /var/lib/postgresql/${version}/main /srv/data
sed -i "s|^data_directory = .*|data_directory = '/srv/data'|" ${conf}/postgresql.conf`
  const alter = `runuser -u postgres -- psql -Xq -c 'alter system set port = 5445'`
  it.each([
    ['with the settings of Debian', 'true'],
    ['that is down', `pg_ctlcluster ${version} main stop`],
    ['that was killed', `kill -KILL $(head -n 1 /var/lib/postgresql/${version}/main/postmaster.pid)`],
    ['on another port', `sed -i 's/^port = .*/port = 5444 # ours/' ${conf}/postgresql.conf; ${restart}`],
    ['on a port in other words', `sed -i "s/^port = .*/ PORT '5444'/" ${conf}/postgresql.conf; ${restart}`],
    ['on the last of two ports', `echo 'port = 5444' >> ${conf}/postgresql.conf; ${restart}`],
    ['with a port in conf.d', `echo 'port = 5444' > ${conf}/conf.d/ours.conf; ${restart}`],
    ['with a port of alter system', `cd /; ${alter}; ${restart}`],
    [
      'with a port in an included file',
      `echo 'port = 5444' > ${conf}/more; echo "include 'more'" >> ${conf}/postgresql.conf; ${restart}`,
    ],
    ['with data at another place', `cd /; ${moveData}; pg_ctlcluster ${version} main start`],
    ['without data', `pg_ctlcluster ${version} main stop; rm -rf /var/lib/postgresql/${version}/main`],
    ['with a second cluster', `pg_createcluster --port 5446 ${version} other -- --no-sync > /dev/null 2>&1`],
  ])('is the one that pg_lsclusters shows: %s', async (_, change) => {
    await machine.sh(change)
    const shown = (await machine.sh('pg_lsclusters -h 2> /dev/null || true')).split('\n').filter(Boolean)
    const clusters = shown.map((line) => {
      const [version = '', name = '', port, status = '', owner = ''] = line.split(/\s+/)
      return { version, name, port: Number(port), online: status.split(',').includes('online'), owner }
    })
    const found = await findClusters(machine.host, 'hydra', run)
    expect([...found].sort((a, b) => a.port - b.port)).toEqual(clusters.sort((a, b) => a.port - b.port))
  })
  // Debian's program does not remove a cluster that was killed, or one without data.
  afterEach(() =>
    machine.sh(`for each in main other; do pg_ctlcluster -m immediate ${version} $each stop > /dev/null 2>&1; done
rm -rf /srv/data /etc/postgresql/${version} /var/lib/postgresql/${version} /run/postgresql/* /var/run/postgresql/* /var/run/postgresql/.s.*`),
  )
})

describe('a PostgreSQL with databases of others', () => {
  it('keeps their databases, rules and map; their users get in as before, and not to Hydra', async () => {
    await asOwner('create role shop login')
    await asOwner('create database shop owner shop')
    await machine.sh(`printf 'local all hydra reject\\nlocal shop shop peer map=shop\\n' | cat - ${conf}/pg_hba.conf > /run/hba
cat /run/hba > ${conf}/pg_hba.conf; echo 'shop seller shop' >> ${conf}/pg_ident.conf; cd /; ${reload}`)
    const before = await machine.sh(`cat ${conf}/pg_hba.conf`)
    const owner = await machine.sh(`stat -c '%a %U %G' ${conf}/pg_hba.conf ${conf}/pg_ident.conf`)
    expect(await enters('seller', 'shop', 'shop')).toBe('shop')
    await applied()
    expect(await machine.sh(`tail -n +2 ${conf}/pg_hba.conf`)).toBe(before)
    expect(await machine.sh(`stat -c '%a %U %G' ${conf}/pg_hba.conf ${conf}/pg_ident.conf`)).toBe(owner)
    expect(await enters('seller', 'shop', 'shop')).toBe('shop')
    expect(await enters('seller', 'hydra', 'hydra')).toContain('authentication failed')
    expect(await enters('hydra', 'shop', 'shop')).toContain('authentication failed')
    expect(await asOwner("select string_agg(datname, ' ' order by datname) from pg_database")).toBe(
      'hydra postgres shop template0 template1',
    )
  })

  it('gets Hydra’s line before the general lines, once, when it stood behind them', async () => {
    await machine.sh(
      `echo 'local   hydra  all  ident map=hydra-users' >> ${conf}/pg_hba.conf; cd /; ${reload}`,
    )
    await applied()
    const lines = await machine.sh(`grep -n 'hydra-users' ${conf}/pg_hba.conf`)
    expect(lines).toMatch(/^1:local hydra all ident map=hydra-users #[^\n]*$/)
  })

  it('may be on another port, beside another cluster on the usual port: the database decides', async () => {
    await applied()
    await machine.sh(`cd /; pg_ctlcluster ${version} main stop; sed -i 's/^port = .*/port = 5444/' ${conf}/postgresql.conf
pg_ctlcluster ${version} main start; pg_createcluster --port 5432 ${version} other -- --no-sync > /dev/null 2>&1
pg_ctlcluster ${version} other start`)
    expect(await wanted().probe(machine.host, run)).toBe('done')
    expect(await wanted().apply(machine.host, run)).toMatchObject({
      cluster: `${version}/main`,
      port: '5444',
    })
    expect(await asOwner("select count(*) from pg_database where datname = 'hydra'")).toBe('0')
  })
})

describe('a PostgreSQL that died of its own rules', () => {
  it('is named with the faulty line, and nothing is changed', async () => {
    await machine.sh(`echo 'local all all identt' >> ${conf}/pg_hba.conf; cd /
pg_ctlcluster ${version} main restart > /dev/null 2>&1; ! pg_lsclusters -h | grep -q online`)
    const before = await machine.sh(`sha256sum ${conf}/*.conf`)
    expect(await wanted().probe(machine.host, run)).toEqual({
      drifted: `the cluster ${version}/main is down`,
    })
    await expect(wanted().apply(machine.host, run)).rejects.toMatchObject({
      message: expect.stringContaining('start PostgreSQL'),
      detail: expect.stringMatching(
        /invalid authentication method "identt"[\s\S]*line \d+ of configuration file/,
      ),
      hint: `check the configuration files in ${conf} for a mistake`,
    })
    expect(await machine.sh(`sha256sum ${conf}/*.conf`)).toBe(before)
    await machine.sh(`sed -i '$d' ${conf}/pg_hba.conf`)
    await applied()
  })
})

it('the only server of a NixOS machine is found by its socket, and by its database', async () => {
  await applied()
  // /var/run is a link to /run on every real machine, but a separate folder here.
  await machine.sh('touch /etc/NIXOS; rmdir /run/postgresql; ln -s /var/run/postgresql /run/postgresql')
  await machine.standIn('postgres', `exec /usr/lib/postgresql/${version}/bin/postgres "$@"`)
  try {
    expect(await findClusters(machine.host, 'hydra', run)).toEqual([
      { version, name: 'nixos', port: 5432, online: true, owner: 'postgres' },
    ])
    await machine.sh(`pg_ctlcluster ${version} main stop`)
    expect(await findClusters(machine.host, 'hydra', run)).toEqual([])
  } finally {
    await machine.sh('rm -f /etc/NIXOS /run/postgresql')
    await machine.removeStandIn('postgres')
  }
})
