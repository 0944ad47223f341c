import { PassThrough } from 'node:stream'
import { beforeEach, describe, expect, it } from 'vitest'
import type { TaskRecord } from '../../src/core/deployment.js'
import { failure, interrupted } from '../../src/core/errors.js'
import type { SecretNeed, TaskState, WantedTask } from '../../src/core/setup-task.js'
import { planTasks, probeTasks, runTasks, verifyTasks } from '../../src/tasks/engine.js'
import { LocalShellHost } from '../fakes/local-shell-host.js'

const host = new LocalShellHost()
let events: string[]
let records: Record<string, TaskRecord>
/** The fingerprint of every secret; undefined means unknown. */
let fingerprint: string | undefined

beforeEach(() => {
  events = []
  records = {}
  fingerprint = 'first'
})

/** Creates a task whose state the test keeps; a hook may fail or wait. */
function task(
  id: string,
  more: {
    after?: string[]
    inputs?: string
    state?: TaskState
    apply?: () => Promise<void>
    verify?: () => Promise<void>
    probe?: () => Promise<TaskState>
    irreplaceable?: string
    secrets?: SecretNeed[]
    traces?: Record<string, string>
  } = {},
): WantedTask {
  return {
    id,
    title: `set up ${id}`,
    after: more.after ?? [],
    stage: 'configure',
    inputs: more.inputs ?? '{}',
    packages: [],
    owns: [],
    irreplaceable: more.irreplaceable,
    secrets: more.secrets ?? [],
    traces: more.traces ?? {},
    probe: more.probe ?? (async () => more.state ?? 'needed'),
    apply: async () => {
      events.push(`apply ${id}`)
      await more.apply?.()
      return { made: id }
    },
    verify: async () => {
      await more.verify?.()
      events.push(`verified ${id}`)
    },
  }
}

function context(redo: string[] = []) {
  return {
    records,
    redo: new Set(redo),
    hmac: (inputs: string) => `keyed(${inputs})`,
    secrets: { fingerprint: async () => fingerprint, read: async () => 'hunter2' },
    allowRecreate: false,
    prune: false,
    connect: async () => new PassThrough(),
    now: () => new Date('2026-11-21T10:00:00Z'),
    run: { signal: new AbortController().signal, log: (_: string) => {} },
    onBegin: async (begun: WantedTask, record: TaskRecord) => {
      events.push(`begun ${begun.id}`)
      records[begun.id] = record
    },
    onDone: async (done: WantedTask, record: TaskRecord) => {
      events.push(`recorded ${done.id}`)
      records[done.id] = record
    },
  }
}

async function kinds(tasks: WantedTask[], redo: string[] = []): Promise<string[]> {
  return (await runTasks(host, tasks, context(redo))).map((result) => `${result.id} ${result.kind}`)
}

describe('runTasks', () => {
  it('applies, verifies, and only then records', async () => {
    expect(await kinds([task('a')])).toEqual(['a done'])
    expect(events).toEqual(['apply a', 'verified a', 'recorded a'])
    expect(records.a).toEqual({ inputs: 'keyed({})', outputs: { made: 'a' }, at: '2026-11-21T10:00:00.000Z' })
  })

  it('records the traces of a task before the task runs, and keeps them after a failure', async () => {
    const verify = async () => {
      throw new Error('no answer')
    }
    const traces = { made: 'a', empty: '' }
    expect(await kinds([task('a', { traces, verify })])).toEqual(['a failed'])
    expect(events).toEqual(['begun a', 'apply a'])
    expect(records.a).toEqual({ inputs: '', outputs: { made: 'a' }, at: '2026-11-21T10:00:00.000Z' })
    events.length = 0
    expect(await kinds([task('a', { traces, state: 'done' })])).toEqual(['a done'])
    expect(events).toEqual(['apply a', 'verified a', 'recorded a'])
    expect(records.a?.inputs).toBe('keyed({})')
  })

  it('keeps the record of earlier inputs beside new traces, so that a loss is still a loss', async () => {
    await kinds([task('a')])
    const traces = { further: 'b' }
    const apply = async () => {
      throw new Error('no space left')
    }
    expect(await kinds([task('a', { traces, apply, state: { drifted: 'gone' } })])).toEqual(['a failed'])
    expect(records.a).toMatchObject({ inputs: 'keyed({})', outputs: { made: 'a', further: 'b' } })
  })

  it('does nothing for a task that is recorded and still done', async () => {
    await kinds([task('a')])
    events.length = 0
    expect(await kinds([task('a', { state: 'done' })])).toEqual(['a unchanged'])
    expect(events).toEqual([])
  })

  it('runs again when the inputs changed, when the machine drifted, and on request', async () => {
    await kinds([task('a')])
    expect(await kinds([task('a', { state: 'done', inputs: '{"x":1}' })])).toEqual(['a done'])
    expect(await kinds([task('a', { state: { drifted: 'gone' }, inputs: '{"x":1}' })])).toEqual(['a done'])
    expect(await kinds([task('a', { state: 'done', inputs: '{"x":1}' })], ['a'])).toEqual(['a done'])
    expect(await kinds([task('a', { state: 'done', inputs: '{"x":1}' })])).toEqual(['a unchanged'])
  })

  it('runs a task that the machine calls done without a record, because its outputs are wanted', async () => {
    expect(await kinds([task('a', { state: 'done' })])).toEqual(['a done'])
  })

  it('runs a task after its dependencies, whatever the order of the list', async () => {
    await kinds([task('c', { after: ['b'] }), task('b', { after: ['a'] }), task('a')])
    expect(events.filter((event) => event.startsWith('apply'))).toEqual(['apply a', 'apply b', 'apply c'])
  })

  it('runs independent tasks at the same time', async () => {
    let meet = () => {}
    const met = new Promise<void>((resolve) => {
      meet = resolve
    })
    // The first task ends only after the second one has begun.
    const first = task('a', { apply: () => met })
    const second = task('b', { apply: async () => meet() })
    expect(await kinds([first, second])).toEqual(['a done', 'b done'])
  })

  it('stops only the tasks that depend on a failure, and names it', async () => {
    const broken = task('a', { apply: async () => Promise.reject(failure('X', 'no room')) })
    const results = await runTasks(
      host,
      [broken, task('b', { after: ['a'] }), task('c', { after: ['b'] }), task('d')],
      context(),
    )
    expect(results).toMatchObject([
      { id: 'a', kind: 'failed', error: { message: 'no room' } },
      { id: 'b', kind: 'skipped', because: 'a' },
      { id: 'c', kind: 'skipped', because: 'b' },
      { id: 'd', kind: 'done' },
    ])
  })

  it('records no task that was applied but could not be verified', async () => {
    const unproved = task('a', { verify: async () => Promise.reject(failure('X', 'daemon is silent')) })
    expect(await kinds([unproved])).toEqual(['a failed'])
    expect(records).toEqual({})
  })

  it('does not wait for tasks that this machine does not want', async () => {
    expect(await kinds([task('b', { after: ['somewhere-else'] })])).toEqual(['b done'])
  })

  it('passes an interruption on instead of calling it a failure', async () => {
    const cancelled = task('a', { apply: async () => Promise.reject(interrupted()) })
    await expect(kinds([cancelled])).rejects.toMatchObject({ code: 'INTERRUPTED' })
  })

  it('refuses tasks that wait for each other', async () => {
    await expect(kinds([task('a', { after: ['b'] }), task('b', { after: ['a'] })])).rejects.toThrow(
      'a → b → a',
    )
  })
})

describe('probeTasks', () => {
  it('lists the tasks that would run and why, and runs none', async () => {
    records = {
      kept: { inputs: 'keyed({})', outputs: {}, at: '' },
      changed: { inputs: 'old', outputs: {}, at: '' },
    }
    const statuses = await probeTasks(
      host,
      [
        task('kept', { state: 'done' }),
        task('changed', { state: 'done' }),
        task('new'),
        task('drifted', { state: { drifted: 'the file is gone' } }),
        task('silent', { probe: async () => Promise.reject(failure('X', 'no answer')) }),
      ],
      context(),
    )
    expect(planTasks(statuses)).toEqual([
      { subject: 'setup', action: 'run', detail: 'changed', note: 'its options changed' },
      { subject: 'setup', action: 'run', detail: 'new', note: 'not done yet' },
      { subject: 'setup', action: 'run', detail: 'drifted', note: 'the file is gone' },
      {
        subject: 'setup',
        action: 'run',
        detail: 'silent',
        note: 'the state of the task cannot be read: no answer',
      },
    ])
    expect(events).toEqual([])
  })
})

describe('things that a task made and that the options no longer name', () => {
  const old = "no longer in the expression: project 'old'"
  const left = () => task('projects', { state: { leftOver: old } })
  const recorded = { projects: { inputs: 'keyed({})', outputs: {}, at: '' } }

  it('stay, and the plan names the flag', async () => {
    records = recorded
    expect(planTasks(await probeTasks(host, [left()], context()))).toEqual([
      { subject: 'setup', action: 'remove', detail: 'projects', note: `${old} (needs --prune)` },
    ])
    expect(await runTasks(host, [left()], context())).toEqual([{ id: 'projects', kind: 'unchanged' }])
  })

  it('are a reason to run with --prune', async () => {
    records = recorded
    const pruning = { ...context(), prune: true }
    expect(planTasks(await probeTasks(host, [left()], pruning), pruning)).toEqual([
      { subject: 'setup', action: 'remove', detail: 'projects', note: old },
    ])
    expect(await runTasks(host, [left()], pruning)).toMatchObject([{ kind: 'done' }])
  })

  it('are reported beside a drift', async () => {
    records = recorded
    const both = task('projects', { state: { drifted: 'it differs', leftOver: old } })
    const notes = planTasks(await probeTasks(host, [both], context())).map(({ note }) => note)
    expect(notes).toEqual(['it differs', `${old} (needs --prune)`])
  })
})

describe('an object that cannot be made again', () => {
  const database = (state: TaskState) => task('database', { state, irreplaceable: 'the database' })
  const recorded = { database: { inputs: 'keyed({})', outputs: {}, at: '' } }

  it('is made when the record knows of none', async () => {
    expect(await runTasks(host, [database('needed')], context())).toMatchObject([{ kind: 'done' }])
  })

  it.each<[string, TaskState]>([
    ['needed', 'needed'],
    ['lost', { drifted: 'dropped', lost: true }],
  ])('is not recreated on a machine that had it (%s)', async (_, state) => {
    records = recorded
    const [result] = await runTasks(host, [database(state)], context())
    expect(result).toMatchObject({ kind: 'failed', error: { code: 'LOST' } })
    expect(events).toEqual([])
    expect(planTasks(await probeTasks(host, [database(state)], context()))).toEqual([
      expect.objectContaining({
        action: 'recreate',
        note: expect.stringContaining('needs --allow-recreate'),
      }),
    ])
  })

  it('is recreated when that is allowed', async () => {
    records = recorded
    const allowed = { ...context(), allowRecreate: true }
    expect(await runTasks(host, [database('needed')], allowed)).toMatchObject([{ kind: 'done' }])
  })

  it('is made when its options move it to another place', async () => {
    records = { database: { inputs: 'keyed(elsewhere)', outputs: {}, at: '' } }
    expect(await runTasks(host, [database('needed')], context())).toMatchObject([{ kind: 'done' }])
  })

  it('is mended without permission when it drifted and is not lost', async () => {
    records = recorded
    const drifted = database({ drifted: 'a rule is missing' })
    expect(await runTasks(host, [drifted], context())).toMatchObject([{ kind: 'done' }])
  })
})

describe('a task’s secret', () => {
  const need: SecretNeed = {
    name: 'user-alice',
    what: 'password of alice',
    source: { prompt: true, generate: false },
  }
  const user = () => task('user', { state: 'done', secrets: [need] })

  it('causes another run when its source gives another value, and not otherwise', async () => {
    await runTasks(host, [user()], context())
    expect(await probeTasks(host, [user()], context())).toMatchObject([{ why: undefined }])
    fingerprint = 'second'
    expect(await probeTasks(host, [user()], context())).toMatchObject([
      { why: 'the password of alice changed' },
    ])
  })

  it('counts as unchanged while it cannot be known', async () => {
    await runTasks(host, [user()], context())
    fingerprint = undefined
    expect(await probeTasks(host, [user()], context())).toMatchObject([{ why: undefined }])
  })

  it('is recorded as a keyed hash only', async () => {
    await runTasks(host, [user()], context())
    expect(records.user).toMatchObject({ secrets: { 'user-alice': 'keyed(user-alice\0first)' } })
    expect(JSON.stringify(records)).not.toContain('hunter2')
  })
})

describe('the verification of all tasks', () => {
  it('names every failing task, and applies none', async () => {
    const tasks = [
      task('a', { verify: async () => Promise.reject(failure('A', 'a is not reached')) }),
      task('b'),
      task('c', { verify: async () => Promise.reject(failure('C', 'c is not signed', { hint: 'try' })) }),
    ]
    await expect(verifyTasks(host, tasks, context())).rejects.toThrow(
      'verification failed: a: a is not reached; c: c is not signed',
    )
    expect(events).toEqual(['verified b'])
  })

  it('shows the hint and the evidence of each failing task', async () => {
    const tasks = [
      task('a', {
        verify: async () => Promise.reject(failure('A', 'no', { hint: 'mend a', detail: 'log of a' })),
      }),
      task('c', { verify: async () => Promise.reject(failure('C', 'no more', { detail: 'log of c' })) }),
    ]
    await expect(verifyTasks(host, tasks, context())).rejects.toMatchObject({
      hint: 'mend a',
      detail: 'log of a\nlog of c',
    })
  })

  it('is silent when all hold', async () => {
    await verifyTasks(host, [task('a'), task('b')], context())
    expect(events).toEqual(['verified a', 'verified b'])
  })
})
