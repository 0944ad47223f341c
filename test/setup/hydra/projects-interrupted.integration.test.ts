import { connect, type Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { failure } from '../../../src/core/errors.js'
import type { TaskRun } from '../../../src/core/setup-task.js'
import type { Host } from '../../../src/core/ssh.js'
import { taskRun } from '../../fakes/task-run.js'
import { withScript } from '../../fixtures/with-script.js'
import { ProjectsStandIn } from './projects-stand-in.js'

let hydra: ProjectsStandIn

beforeAll(async () => {
  hydra = await ProjectsStandIn.start()
})
afterAll(() => hydra?.dispose())

const network = { type: 'git', value: 'https://git.example.org/network.git main' }
const main = { nixExpression: { input: 'network', path: 'hydra/default.nix' }, inputs: { network } }
const declarative = { file: 'hydra/spec.json', type: 'git', value: network.value }

/**
 * The projects before the change: `decl` becomes declarative, `back` stops being declarative, `old` and
 * `fleet:gone` are removed.
 */
const before = {
  fleet: { displayName: 'The fleet', jobsets: { main, gone: main } },
  decl: { jobsets: { one: main, two: main } },
  back: { declarative },
  old: { jobsets: { one: main } },
}
const nightly = { ...main, enabled: 'one-shot' }
const now = {
  fleet: { displayName: 'Our fleet', jobsets: { main: { ...main, schedulingShares: 7 }, nightly } },
  decl: { declarative },
  back: { jobsets: { one: main } },
}

/** Time for two attempts after each of ten requests. */
const timeout = 10 * 60_000

/** SQL for changes that a user makes in Hydra's web interface. The options do not name these values. */
const byHand = `update jobsets set keepnr = 9, enableemail = 1, description = 'by hand',
    emailoverride = 'x@example.org', checkinterval = 77 where project = 'fleet' and name = 'main';
  update projects set homepage = 'https://example.org', description = 'by hand', hidden = 1;
  insert into projects (name, displayname, owner) values ('theirs', 'Theirs', 'alice');
  insert into jobsets (name, project, emailoverride, nixexprinput, nixexprpath)
    values ('main', 'theirs', '', 'a', 'b');`
const tables = ['projects', 'jobsets', 'jobsetinputs', 'jobsetinputalts']
const save = tables.map((name) => `drop table if exists s_${name}; create table s_${name} as table ${name};`)
const restore = ['delete from projects;', ...tables.map((name) => `insert into ${name} table s_${name};`)]
const dump = `select to_jsonb(p) from projects p order by name;
  select to_jsonb(j) - 'id' - 'triggertime' from jobsets j order by project, name;
  select to_jsonb(i) from jobsetinputs i order by project, jobset, name;
  select to_jsonb(a) from jobsetinputalts a order by project, jobset, input;`
const sql = (text: string) => hydra.postgres.sql(text)
/** Ends the evaluation of each one-shot jobset, and counts the evaluations. */
const evaluate = () =>
  sql(`with shot as (update jobsets set enabled = 0 where enabled = 2 returning 1) select count(*) from shot`)
const alice = () => taskRun({ 'hydra-user-alice': 'hunter2' }, [], true)

/**
 * A connection to the machine that is lost at the request with this number. Hydra executes that request, but its answer
 * is lost. Nothing reaches the machine afterwards.
 */
class LostAnswer {
  /** First lines of the requests. */
  readonly requests: string[] = []
  private readonly at: number
  private gone = false

  constructor(at: number) {
    this.at = at
  }

  run(whole: TaskRun = alice()): TaskRun {
    return {
      ...whole,
      connect: (port, { signal }, host = '127.0.0.1') => {
        if (this.gone) return Promise.reject(lost())
        this.gone = this.requests.length === this.at
        const socket = connect({ host, port, signal })
        socket.on('error', () => {})
        return Promise.resolve(this.between(socket, !this.gone))
      },
    }
  }

  host(): Host {
    const { host } = hydra
    return withScript(host, (text, args, options) =>
      this.gone ? Promise.reject(lost()) : host.script(text, args, options),
    )
  }

  private between(socket: Socket, answers: boolean): Duplex {
    let isFirst = true
    const way = new Duplex({
      read: () => {},
      write: (chunk, _, done) => {
        if (isFirst) this.requests.push(String(chunk).split(' HTTP/', 1)[0] ?? '')
        isFirst = false
        socket.write(chunk, done)
      },
      destroy: (error, done) => {
        socket.destroy()
        done(error)
      },
    })
    // Hydra answers only after its transaction.
    socket.on('data', (chunk) => (answers ? way.push(chunk) : way.destroy(lost())))
    socket.on('close', () => (answers ? way.push(null) : way.destroy(lost())))
    return way
  }
}

function lost(): Error {
  return failure('CONNECTION_LOST', 'the machine is gone (by this test)')
}

describe('the projects of Hydra after a lost connection', () => {
  let listBefore = ''
  let whole: { readonly requests: readonly string[]; readonly rows: string; readonly list: string }
  const reset = () => {
    sql(restore.join(''))
    hydra.placeList(listBefore)
  }

  beforeAll(async () => {
    await hydra.wanted(before).apply(hydra.host, alice())
    listBefore = hydra.listText()
    sql(byHand + save.join(''))
    const way = new LostAnswer(Number.POSITIVE_INFINITY)
    await hydra.wanted(now).apply(way.host(), way.run())
    expect(evaluate().trim()).toBe('1')
    whole = { requests: way.requests, rows: sql(dump), list: hydra.listText() }
  })

  it('keep the values of a person, and lose the dropped ones alone', () => {
    expect(whole.requests.filter((line) => !line.startsWith('GET'))).toEqual([
      ...['POST /login', 'PUT /project/fleet', 'PUT /jobset/fleet/main', 'PUT /jobset/fleet/nightly'],
      ...['PUT /project/decl', 'PUT /project/back', 'PUT /jobset/back/one'],
      ...['DELETE /jobset/fleet/gone', 'DELETE /project/old', 'POST /logout'],
    ])
    expect(sql("select project, name from jobsets where name <> '.jobsets' order by 1, 2").trim()).toBe(
      'back|one\ndecl|one\ndecl|two\nfleet|main\nfleet|nightly\ntheirs|main',
    )
    expect(sql("select keepnr, description from jobsets where name = 'main' and project = 'fleet'")).toBe(
      '9|by hand\n',
    )
  })

  it('are the same after another attempt, whichever request was the last', { timeout }, async () => {
    for (const [at, request] of whole.requests.entries()) {
      // A GET does not change Hydra.
      if (request.startsWith('GET')) continue
      const when = `the answer to request ${at + 1}, ${request}, is lost`
      reset()
      const way = new LostAnswer(at)
      await expect(hydra.wanted(now).apply(way.host(), way.run()), when).rejects.toThrow()
      expect(way.requests, when).toEqual(whole.requests.slice(0, at + 1))
      const evaluations = Number(evaluate())
      await hydra.wanted(now).apply(hydra.host, alice())
      expect(evaluations + Number(evaluate()), `${when}: evaluations of the one-shot jobset`).toBe(1)
      expect(sql(dump), when).toBe(whole.rows)
      expect(hydra.listText(), when).toBe(whole.list)
    }
    expect(await hydra.wanted(now).probe(hydra.host, alice())).toBe('done')
  })
})

describe('the list of the projects that hydra-ops made', () => {
  it('loses a name that is gone, so that nobody else’s project of that name is ever removed', async () => {
    sql('delete from projects')
    hydra.placeList('project old\njobset old one\nproject fleet\njobset fleet gone\n')
    const fleet = { fleet: { jobsets: { main } } }
    await hydra.wanted(fleet).apply(hydra.host, taskRun({ 'hydra-user-alice': 'hunter2' }))
    expect(hydra.listText().split('\n').slice(1)).toEqual(['project fleet', 'jobset fleet main', ''])
    hydra.placeList(`${hydra.listText()}project old\n`)
    expect(await hydra.wanted(fleet).probe(hydra.host, alice())).toEqual({
      drifted: "/var/lib/hydra-ops/hydra-projects names project 'old', which no longer exists",
    })
  })
})
