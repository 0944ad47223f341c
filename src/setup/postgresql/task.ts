import { createHash } from 'node:crypto'
import { failure } from '../../core/errors.js'
import { ownedService } from '../../core/owned-places.js'
import type { Run } from '../../core/run.js'
import type { SetupTask, TaskState } from '../../core/setup-task.js'
import type { Host } from '../../core/ssh.js'
import { type PlacedFile, placeFiles } from '../../remote/place-files.js'
import { askMachine, type Facts, fact, runScript } from '../../remote/run-script.js'
import { publicFile } from '../../remote/services.js'
import { askSocket, postgresqlFarewell, postgresqlWelcome, startupMessage } from '../ask-socket.js'
import { hydraRole, hydraSettings, hydraUsers } from '../hydra/settings.js'
import { hasMap, hasRuleFirst, isOurs, withMap, withRule } from './access-files.js'
import { type Cluster, clusterUnit, findClusters, requireCluster } from './cluster.js'

export interface PostgresqlOptions {
  readonly database: string
  /** Hydra's line in pg_hba.conf. */
  readonly rule: string
  /** Hydra's rows in pg_ident.conf. */
  readonly map: readonly string[]
  /** Users of the machine who need access. */
  readonly users: readonly string[]
}

/**
 * Name of the map from users to the role; PostgreSQL identifies a client by the user of its process. Root is in the map
 * for hydra-create-user.
 */
const map = 'hydra-users'
const mappedUsers = [hydraUsers.hydra, hydraUsers.queueRunner, hydraUsers.www, 'root']
const usualMap = [...mappedUsers.map((user) => `${map} ${user} ${hydraRole}`)]

/**
 * Drop-in that restarts PostgreSQL: Debian's unit has no Restart, so a killed postmaster would otherwise stay dead
 * (measured).
 */
const restartDropIn = publicFile(
  '/etc/systemd/system/postgresql@.service.d/hydra.conf',
  '# Written by hydra-ops (set-up task "postgresql")\n[Service]\nRestart=on-failure\nRestartSec=2\n',
)

export const postgresqlTask: SetupTask<PostgresqlOptions> = {
  id: 'postgresql',
  title: 'PostgreSQL with the database of Hydra',
  after: ['hydra-accounts'],
  stage: 'configure',
  irreplaceable: 'the database of Hydra',
  // The server includes pg_trgm since PostgreSQL 10.
  debianPackages: () => ['postgresql'],
  wanted(machine) {
    const settings = hydraSettings(machine)
    if (settings === undefined) return undefined
    const { name, identMap, authentication } = settings.options.database
    return {
      database: name,
      rule: authentication ?? `local ${name} all ident map=${map}`,
      map: identMap == null ? usualMap : identMap.split('\n').filter((row) => row.trim() !== ''),
      users: mappedUsers,
    }
  },
  owns: () => [
    { path: '/etc/postgresql/*/*/pg_hba.conf', instead: 'deployment.hydra.database.authentication' },
    { path: '/etc/postgresql/*/*/pg_ident.conf', instead: 'deployment.hydra.database.identMap' },
    { path: restartDropIn.path, instead: 'a drop-in with another name in the same folder' },
    ...ownedService('postgresql.service'),
    ...ownedService('postgresql@*.service'),
  ],
  probe: probePostgresql,
  apply: applyPostgresql,
  verify: verifyPostgresql,
}

async function probePostgresql(host: Host, options: PostgresqlOptions, run: Run): Promise<TaskState> {
  const [cluster] = await findClusters(host, options.database, run)
  if (cluster === undefined) return 'needed'
  if (!cluster.online) return { drifted: `the cluster ${cluster.version}/${cluster.name} is down` }
  const facts = await look(host, cluster, options, run)
  // A server that does not answer cannot name its files either.
  if (fact(facts, 'database') === 'unanswered') return { drifted: (facts.get('wrong') ?? []).join('; ') }
  // The look names the files only with the database.
  const files = facts.has('hba') ? filesIn(facts) : await accessFiles(host, cluster, run)
  const ruled = hasRuleFirst(files.hba.text, bytes(options.rule))
  if (fact(facts, 'database') === 'absent') {
    return ruled ? { drifted: `the database ${options.database} is missing`, lost: true } : 'needed'
  }
  const wrong = [
    ...(facts.get('wrong') ?? []),
    ...(ruled ? [] : [`the rule of Hydra is not the first rule in ${files.hba.path}`]),
    ...(hasMap(files.ident.text, options.map.map(bytes))
      ? []
      : [`${files.ident.path} lacks rows of Hydra's map`]),
  ]
  return wrong.length === 0 ? 'done' : { drifted: wrong.join('; ') }
}

async function look(host: Host, cluster: Cluster, options: PostgresqlOptions, run: Run): Promise<Facts> {
  const values = {
    ...placeOf(cluster),
    database: options.database,
    role: hydraRole,
    drop_in: restartDropIn.path,
    drop_in_hash: createHash('sha256').update(restartDropIn.content).digest('hex'),
    users: options.users,
    startup: startupMessage(hydraRole, options.database),
    welcome: postgresqlWelcome,
    farewell: postgresqlFarewell,
    ask_socket: askSocket(),
  }
  return askMachine(host, { what: 'look at PostgreSQL', script: 'tasks/postgresql/look', values }, run)
}

/** Returns the values with which a script reaches a cluster. */
function placeOf({ port, owner }: Cluster) {
  return { port, owner }
}

async function applyPostgresql(
  host: Host,
  options: PostgresqlOptions,
  run: Run,
): Promise<Record<string, string>> {
  const found = await requireCluster(host, options.database, run)
  await placeFiles(host, [restartDropIn], { run, what: 'let systemd restart PostgreSQL' })
  const start = {
    what: 'start PostgreSQL',
    script: 'tasks/postgresql/start',
    values: { unit: clusterUnit(found) },
    hint: `check the configuration files in /etc/postgresql/${found.version}/${found.name} for a mistake`,
  }
  await runScript(host, start, run)
  // The first look cannot tell whether a stopped cluster has the database.
  const cluster = found.online ? found : await requireCluster(host, options.database, run)
  await allowHydra(host, cluster, options, run)
  const values = { ...placeOf(cluster), database: options.database, role: hydraRole }
  const make = { what: 'create the database of Hydra', script: 'tasks/postgresql/database', values }
  await runScript(host, make, run)
  return {
    cluster: `${cluster.version}/${cluster.name}`,
    port: String(cluster.port),
    database: options.database,
  }
}

interface AccessFile {
  /** Path as the server reports it. */
  readonly path: string
  /** Text with one character per byte, because existing text need not be UTF-8. */
  readonly text: string
  /** Returns the file with new text, and with its old owner and mode. */
  with(text: string): PlacedFile
}

interface AccessFiles {
  readonly hba: AccessFile
  readonly ident: AccessFile
}

/** Reads the files that the running server uses, wherever they are. */
async function accessFiles(host: Host, cluster: Cluster, run: Run): Promise<AccessFiles> {
  const question = {
    what: 'read pg_hba.conf',
    script: 'tasks/postgresql/access-files',
    values: placeOf(cluster),
  }
  return filesIn(await askMachine(host, question, run))
}

function filesIn(facts: Facts): AccessFiles {
  const read = (name: string): AccessFile => {
    const [mode = '', user = '', group = ''] = fact(facts, `${name}_stat`).split(' ')
    return {
      path: fact(facts, `${name}_file`),
      text: Buffer.from(fact(facts, name), 'base64').toString('latin1'),
      with: (text) => ({
        path: fact(facts, `${name}_real`),
        content: Buffer.from(text, 'latin1'),
        mode: Number.parseInt(mode, 8),
        user,
        group,
      }),
    }
  }
  return { hba: read('hba'), ident: read('ident') }
}

/** Encodes text as `AccessFile.text` has it, with one character per byte. */
function bytes(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1')
}

/**
 * Changes the two files only if PostgreSQL finds no fault in them, and reverts a faulty change. PostgreSQL silently
 * keeps the old rules after a bad line, and fails to start at the next restart (measured).
 */
async function allowHydra(host: Host, cluster: Cluster, options: PostgresqlOptions, run: Run): Promise<void> {
  const { hba, ident } = await accessFiles(host, cluster, run)
  for (const { path, text } of [hba, ident])
    if (text.includes('\r'))
      throw untouched(host, `${path} has Windows line endings (CRLF)`, `sed -i 's/\\r$//' ${path}`)
  // Faults in our own lines do not count, because a crash may have left them and this run replaces them.
  const faults = (await accessFaults(host, cluster, run)).filter(
    ({ name, line }) => !isOurs(name === 'hba' ? hba.text : ident.text, line),
  )
  if (faults.length > 0) throw untouched(host, describeFaults(faults))
  const rule = bytes(options.rule)
  // The rule applies to every user who opens Hydra's database, including the superuser, whose name may vary.
  const rows = [...options.map.map(bytes), `${map} ${cluster.owner} ${cluster.owner}`]
  const changes = [
    { file: hba, text: hasRuleFirst(hba.text, rule) ? hba.text : withRule(hba.text, rule) },
    { file: ident, text: hasMap(ident.text, rows) ? ident.text : withMap(ident.text, rows) },
  ].filter(({ file, text }) => text !== file.text)
  const changed = changes.map(({ file, text }) => file.with(text))
  await placeFiles(host, changed, { run, what: "give Hydra's users access to PostgreSQL" })
  const after = await accessFaults(host, cluster, run)
  if (after.length > 0) {
    const old = changes.map(({ file }) => file.with(file.text))
    await placeFiles(host, old, { run, what: 'restore the access rules of PostgreSQL' })
    throw failure(
      'POSTGRESQL',
      `machine '${host.machine}': ${describeFaults(after)}; the old files were restored`,
      {
        machine: host.machine,
        hint: 'PostgreSQL rejects deployment.hydra.database.authentication or .identMap; correct or remove these options',
      },
    )
  }
  const reload = {
    what: 'reload PostgreSQL',
    script: 'tasks/postgresql/reload',
    values: placeOf(cluster),
  }
  await runScript(host, reload, run)
}

interface Fault {
  readonly name: string
  readonly line: number
  /** Message: `/etc/…/pg_hba.conf line 3: invalid authentication method "identt"`. */
  readonly text: string
}

async function accessFaults(host: Host, cluster: Cluster, run: Run): Promise<Fault[]> {
  const question = {
    what: 'check pg_hba.conf',
    script: 'tasks/postgresql/faults',
    values: placeOf(cluster),
  }
  const facts = await askMachine(host, question, run)
  return (facts.get('fault') ?? []).map((fault) => {
    const [, name = '', line = '', text = ''] = /^(\w+) (\d+) (.*)$/s.exec(fault) ?? []
    return { name, line: Number(line), text }
  })
}

function describeFaults(faults: readonly Fault[]): string {
  return faults.map(({ text }) => text).join('; ')
}

function untouched(host: Host, why: string, mend?: string): Error {
  return failure('POSTGRESQL', `machine '${host.machine}': ${why}; it was not touched`, {
    machine: host.machine,
    hint:
      mend === undefined
        ? 'correct the file on the machine, then deploy again'
        : `correct the file on the machine: ${mend}`,
  })
}

/** Checks that each of Hydra's users can connect as the role, and that a stranger cannot. */
async function verifyPostgresql(host: Host, options: PostgresqlOptions, run: Run): Promise<void> {
  const cluster = await requireCluster(host, options.database, run)
  const facts = await look(host, cluster, options, run)
  const wrong = facts.get('wrong') ?? []
  if (wrong.length === 0) return
  throw failure('POSTGRESQL', `machine '${host.machine}': ${wrong.join('; ')}`, {
    machine: host.machine,
    hint: 'the log in /var/log/postgresql names the line of pg_hba.conf that matched',
  })
}
