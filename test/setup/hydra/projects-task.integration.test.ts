import { rmSync } from 'node:fs'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { TaskRun } from '../../../src/core/setup-task.js'
import type { LocalShellHost } from '../../fakes/local-shell-host.js'
import { taskRun } from '../../fakes/task-run.js'
import type { PrivatePostgres } from '../../hydra/private-postgres.js'
import { taskContract } from '../task-contract.js'
import { ProjectsStandIn } from './projects-stand-in.js'

let standIn: ProjectsStandIn
let postgres: PrivatePostgres
let host: LocalShellHost
let port: number

beforeAll(async () => {
  standIn = await ProjectsStandIn.start()
  ;({ postgres, host, port } = standIn)
})
afterAll(() => standIn?.dispose())

const network = { type: 'git', value: 'https://git.example.org/network.git main' }
const nixExpression = { input: 'network', path: 'hydra/default.nix' }
const main = { nixExpression, inputs: { network, nixpkgs: { type: 'path', value: '/srv/nixpkgs' } } }
const fleet = { displayName: 'The fleet', jobsets: { main, nightly: { ...main, enabled: 'one-shot' } } }

/** A password that the administrator types; the task then uses its own user. */
const typed = { prompt: true }

const wanted = (projects: unknown, password?: Record<string, unknown>) => standIn.wanted(projects, password)
const alice = (prune = false) => taskRun({ 'hydra-user-alice': 'hunter2' }, [], prune)
const converge = async (projects: unknown, run: TaskRun = alice()) => {
  const task = wanted(projects)
  const outputs = await task.apply(host, run)
  await task.verify(host, run)
  return outputs
}
const probe = (projects: unknown) => wanted(projects).probe(host, alice())
const psql = (statement: string) => `psql -XqAt -U hydra -d hydra -c "${statement}" > /dev/null`
const row = (columns: string, jobset = 'main') =>
  postgres.sql(`select ${columns} from jobsets where project = 'fleet' and name = '${jobset}'`).trim()
const madeList = () => standIn.listText()

describe('the hydra-projects task', () => {
  taskContract(() => ({
    host,
    // The options name every value that a damage changes; other values are Hydra's own.
    task: wanted({ fleet: { ...fleet, hidden: false } }),
    run: alice(),
    verifiable: true,
    placesFiles: true,
    realPath: (path) => path.replace(standIn.state, '/var/lib/hydra-ops'),
    reset: `${psql('delete from projects')}\nrm -f /var/lib/hydra-ops/hydra-projects`,
    damages: {
      'project hidden': psql("update projects set hidden = 1 where name = 'fleet'"),
      'name changed': psql("update projects set displayname = 'Mine'"),
      'jobset gone': psql("delete from jobsets where name = 'main'"),
      'jobset disabled': psql("update jobsets set nixexprpath = 'other.nix' where name = 'main'"),
      'input gone': psql("delete from jobsetinputs where name = 'nixpkgs' and jobset = 'main'"),
      'input changed': psql("update jobsetinputalts set value = 'x' where input = 'network'"),
      'input added': psql("insert into jobsetinputs values ('fleet', 'main', 'extra', 'string', 0)"),
    },
  }))
})

describe('projects and jobsets', () => {
  beforeEach(() => {
    postgres.sql('delete from projects')
    rmSync(standIn.state, { recursive: true, force: true })
  })

  it('begin with the values of Hydra’s own form', async () => {
    expect(await converge({ fleet })).toEqual({ projects: 'fleet', url: `http://127.0.0.1:${port}` })
    expect(row('enabled, hidden, checkinterval, schedulingshares, keepnr, enableemail')).toBe(
      '1|0|300|100|3|0',
    )
    const project = 'displayname, owner, enabled, hidden'
    expect(postgres.sql(`select ${project} from projects`).trim()).toBe('The fleet|alice|1|0')
  })

  it('keep every value that the options leave open', async () => {
    await converge({ fleet })
    postgres.sql(`update jobsets set keepnr = 9, enableemail = 1, description = 'by hand',
      emailoverride = 'x@example.org', checkinterval = 77, enable_dynamic_run_command = false where name = 'main';
      update projects set homepage = 'https://example.org', description = 'by hand'`)
    expect(await probe({ fleet })).toBe('done')
    const changed = { ...main, schedulingShares: 7 }
    await converge({ fleet: { ...fleet, hidden: true, jobsets: { ...fleet.jobsets, main: changed } } })
    expect(row('schedulingshares, keepnr, enableemail, description, emailoverride, checkinterval')).toBe(
      '7|9|1|by hand|x@example.org|77',
    )
    expect(postgres.sql('select hidden, homepage, description from projects').trim()).toBe(
      '1|https://example.org|by hand',
    )
  })

  it('are switched off although Hydra takes "enabled: false" for true', async () => {
    const off = { ...fleet, enabled: false, jobsets: { main: { ...main, enabled: false, hidden: true } } }
    await converge({ fleet: off })
    expect(postgres.sql('select enabled from projects').trim()).toBe('0')
    expect(row('enabled, hidden')).toBe('0|1')
  })

  it('are reported by name and value when they drift', async () => {
    await converge({ fleet })
    postgres.sql("update jobsets set checkinterval = 5, nixexprpath = 'x.nix' where name = 'main'")
    const options = {
      fleet: { ...fleet, jobsets: { ...fleet.jobsets, main: { ...main, checkInterval: 60 } } },
    }
    expect(await probe(options)).toEqual({
      drifted: "jobset 'fleet:main' differs (nixExpression, checkInterval)",
    })
  })

  it('run a one-shot jobset only once, though Hydra switches the jobset off', async () => {
    await converge({ fleet })
    expect(row('enabled', 'nightly')).toBe('2')
    postgres.sql("update jobsets set enabled = 0 where name = 'nightly'")
    expect(await probe({ fleet })).toBe('done')
    postgres.sql("update jobsets set keepnr = 4 where name = 'nightly'")
    const changed = { ...fleet.jobsets.nightly, keepEvaluations: 5 }
    await converge({ fleet: { ...fleet, jobsets: { ...fleet.jobsets, nightly: changed } } })
    expect(row('enabled, keepnr', 'nightly')).toBe('0|5')
  })

  it('become declarative, and Hydra then keeps the jobsets', async () => {
    await converge({ fleet })
    const declarative = { file: 'hydra/spec.json', type: 'git', value: network.value }
    await converge({ fleet: { displayName: 'The fleet', declarative } })
    expect(await probe({ fleet: { displayName: 'The fleet', declarative } })).toBe('done')
    expect(postgres.sql("select count(*) from jobsets where name = '.jobsets'").trim()).toBe('1')
    await converge({ fleet })
    expect(postgres.sql("select count(*) from jobsets where name = '.jobsets'").trim()).toBe('0')
  })

  it('stay when the expression drops them, and go with --prune', async () => {
    await converge({ fleet, old: { jobsets: { one: main } } })
    const now = { fleet: { ...fleet, jobsets: { main } } }
    expect(await probe(now)).toEqual({
      leftOver: "no longer in the expression: project 'old', jobset 'fleet:nightly'",
    })
    await converge(now)
    expect(postgres.sql('select count(*) from jobsets').trim()).toBe('3')
    await converge(now, alice(true))
    expect(postgres.sql('select project, name from jobsets').trim()).toBe('fleet|main')
    expect(await probe(now)).toBe('done')
    expect(madeList()).not.toContain('old')
    await converge({}, alice(true))
    expect(postgres.sql('select count(*) from projects').trim()).toBe('0')
  })

  it('are never removed if somebody else made them', async () => {
    postgres.sql(`insert into projects (name, displayname, owner) values ('theirs', 'Theirs', 'alice');
      insert into jobsets (name, project, emailoverride, nixexprinput, nixexprpath)
      values ('main', 'theirs', '', 'a', 'b')`)
    await converge({ fleet, theirs: { jobsets: { main, ours: main } } })
    postgres.sql(`insert into jobsets (name, project, emailoverride, nixexprinput, nixexprpath)
      values ('by-hand', 'fleet', '', 'a', 'b')`)
    expect(await probe({})).toEqual({
      leftOver:
        "no longer in the expression: jobset 'fleet:main', jobset 'fleet:nightly', jobset 'theirs:ours'; project 'fleet' stays, because it holds jobsets that hydra-ops did not create",
    })
    await converge({}, alice(true))
    expect(postgres.sql('select project, name from jobsets order by 1').trim()).toBe(
      'fleet|by-hand\ntheirs|main',
    )
  })

  it('that would be shown to everybody are refused as private ones', async () => {
    const secret = wanted({ fleet: { ...fleet, private: true } })
    await expect(secret.apply(host, alice())).rejects.toThrow(
      "this Hydra does not support private projects, and would show project 'fleet' to everybody",
    )
    expect(postgres.sql('select count(*) from projects').trim()).toBe('0')
  })

  it('are refused with Hydra’s own words when the owner is unknown', async () => {
    const task = wanted({ fleet: { ...fleet, owner: 'ghost' } })
    await expect(task.apply(host, alice())).rejects.toMatchObject({
      message: expect.stringContaining('The user name ‘ghost’ does not exist.'),
      hint: 'deployment.hydra.users creates users; owner must name an existing user',
    })
  })
})

describe('a database that does not show the projects of Hydra', () => {
  const shot = { fleet: { jobsets: { nightly: fleet.jobsets.nightly } } }
  const list = 'project old\njobset old one\nshot old one\n'
  const rows = () => postgres.sql('select name, displayname from projects order by name').trim()
  const troubles: [string, { readonly begin: () => void; readonly end: () => void }, string, string][] = [
    [
      'is down',
      { begin: () => postgres.down(), end: () => postgres.up() },
      'psql: error: connection to server on socket "',
      'hydra-ops setup run postgresql --redo starts PostgreSQL and gives Hydra access on Debian; systemctl status postgresql shows more on NixOS',
    ],
    [
      'refuses Hydra’s user',
      { begin: () => postgres.admit(false), end: () => postgres.admit(true) },
      'FATAL: Peer authentication failed for user "hydra"',
      'hydra-ops setup run postgresql --redo starts PostgreSQL and gives Hydra access on Debian; systemctl status postgresql shows more on NixOS',
    ],
    [
      'keeps a table from Hydra’s role',
      {
        begin: () => postgres.sql('revoke select on jobsetinputs from hydra'),
        end: () => postgres.sql('grant select on jobsetinputs to hydra'),
      },
      'ERROR: permission denied for table jobsetinputs',
      'hydra-ops setup run postgresql --redo starts PostgreSQL and gives Hydra access on Debian; systemctl status postgresql shows more on NixOS',
    ],
    [
      'has no tables',
      {
        begin: () => postgres.sql('alter schema public rename to aside; create schema public'),
        end: () => postgres.sql('drop schema public; alter schema aside rename to public'),
      },
      'the database hydra lacks the tables of Hydra',
      'systemctl restart hydra-init on the machine creates the tables',
    ],
  ]

  beforeEach(() => {
    postgres.sql(`delete from projects;
      insert into projects (name, displayname, owner) values ('fleet', 'By hand', 'alice')`)
    standIn.placeList(list)
  })

  const during = async <T>(trouble: (typeof troubles)[number][1], act: () => Promise<T>): Promise<T> => {
    trouble.begin()
    try {
      return await act()
    } finally {
      trouble.end()
    }
  }

  it.each(troubles)('lets apply change nothing when it %s', async (_, trouble, why, hint) => {
    const error = await during(trouble, () =>
      wanted(shot)
        .apply(host, alice())
        .catch((caught) => caught),
    )
    expect(error).toMatchObject({
      code: 'POSTGRESQL',
      machine: 'local',
      message: expect.stringMatching(
        /^machine 'local': cannot read the projects of Hydra: the database hydra [^\n]+$/,
      ),
      hint,
    })
    expect(error.message).toContain(why)
    expect(madeList()).toBe(list)
    expect(rows()).toBe('fleet|By hand')
  })

  it.each(troubles)('fails verify with the reason when it %s', async (_, trouble, why) => {
    const error = await during(trouble, () =>
      wanted(shot)
        .verify(host, alice())
        .catch((caught) => caught),
    )
    expect(error.message).toContain(why)
  })

  it.each(troubles)('needs the task when it %s', async (_, trouble) => {
    expect(await during(trouble, () => probe(shot))).toBe('needed')
  })
})

describe('the login', () => {
  beforeEach(() => {
    postgres.sql("delete from projects; delete from users where username = 'hydra_ops'")
    host.seen.length = 0
  })

  it('needs no password of a person: a user of its own has one that nobody knows', async () => {
    const task = wanted({ fleet }, typed)
    const run = taskRun()
    await task.apply(host, run)
    await task.verify(host, run)
    expect(postgres.sql("select role from userroles where username = 'hydra_ops'").trim()).toBe('admin')
    expect(postgres.sql("select owner from projects where name = 'fleet'").trim()).toBe('alice')
  })

  it('makes a new password each time, so that a changed one does no harm', async () => {
    const hash = () => postgres.sql("select password from users where username = 'hydra_ops'")
    await wanted({ fleet }, typed).apply(host, taskRun())
    const before = hash()
    postgres.sql("update users set password = '!' where username = 'hydra_ops'; delete from jobsets")
    await wanted({ fleet }, typed).apply(host, taskRun())
    expect(hash()).not.toBe(before)
    expect(row('enabled')).toBe('1')
  })

  it('falls back to that user when Hydra has another password by now', async () => {
    const run = taskRun({ 'hydra-user-alice': 'rotated' })
    await wanted({ fleet }).apply(host, run)
    expect(row('enabled')).toBe('1')
    expect(run.lines.join('\n')).toContain(
      "Hydra does not accept the password of Hydra's user 'alice'; user 'hydra_ops' signs in instead",
    )
    expect(run.lines.join('\n') + JSON.stringify(host.seen)).not.toContain('rotated')
  })

  it('leaves no session and no secret behind', async () => {
    const run = taskRun()
    await wanted({ fleet }, typed).apply(host, run)
    const shown = run.lines.join('\n') + JSON.stringify(host.seen) + madeList()
    expect(shown).not.toMatch(/hydra_session=[0-9a-f]|[0-9a-f]{64}/)
    expect(run.lines.length).toBeGreaterThan(0)
  })
})
