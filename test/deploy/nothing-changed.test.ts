import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { MachineDefinition } from '../../src/core/definition.js'
import { failure, interrupted, usageError } from '../../src/core/errors.js'
import { DeploymentName, type DeploymentUuid, MachineName } from '../../src/core/names.js'
import { deploy } from '../../src/deploy/deploy.js'
import type { DeployRequest } from '../../src/deploy/request.js'
import { createRunLogs } from '../../src/machine/run-logs.js'
import { readLogs } from '../../src/operations/read-logs.js'
import { runFakeDebian } from '../fakes/fake-debian.js'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import { createFakeOps, type FakeOps } from '../fakes/fake-ops.js'
import { fakeTask } from '../fakes/fake-task.js'
import { standardRequest } from '../fakes/standard-request.js'

let ops: FakeOps

const web = fakeMachine('web', { deployment: { targetHost: 'old.example' } })
const db = fakeMachine('db')
const movedWeb = fakeMachine('web', { version: 'v2', deployment: { targetHost: 'new.example' } })
const app = fakeMachine('app')
/** The network of a branch that is only built: `web` has another host, `db` is missing, `app` is new. */
const branch = [movedWeb, app]

async function open(machines: readonly MachineDefinition[]): Promise<void> {
  ops = await createFakeOps({ network: fakeNetwork(machines, { description: 'first' }) })
  ops.logs = (folder) => createRunLogs({ folder, run: ops.operator.run, now: ops.now, onProblem: () => {} })
  runFakeDebian(ops)
  await create('net')
}

async function create(name: string): Promise<void> {
  await ops.store.create({
    name: DeploymentName.parse(name),
    expressions: ['/net.nix'],
    searchPath: [],
    args: {},
  })
}

/** Returns the content of every file, link and folder in the state, except the deployment's folders in `except`. */
async function everyFile(...except: ('gcroots' | 'logs')[]): Promise<Record<string, string>> {
  const paths = ops.files.paths((await ops.store.resolve('net')).uuid)
  const left = except.map((folder) => paths[folder])
  return Object.fromEntries(
    readdirSync(ops.files.root, { recursive: true, withFileTypes: true }).flatMap((entry) => {
      const path = join(entry.parentPath, entry.name)
      if (left.some((folder) => `${path}/`.startsWith(`${folder}/`))) return []
      if (entry.isSymbolicLink()) return [[path, readlinkSync(path)]]
      return [[path, entry.isFile() ? readFileSync(path, 'latin1') : 'folder']]
    }),
  )
}

const run = (request: Partial<DeployRequest> = {}) => deploy(ops, { ...standardRequest, ...request })
const recordOf = async (name: string, deployment = 'net') =>
  (await ops.store.resolve(deployment)).machines[MachineName.parse(name)]

/** Adds a task that must run, so that the look needs the key for hashing inputs. */
function wantTask(): void {
  const task = fakeTask('nix', {
    probe: async (host) => {
      await host.exec(['true'], { signal: ops.signal, timeoutMs: 1, what: 'read the boot id' })
      return 'needed'
    },
  })
  ops.tasks = async () => [task]
}

afterEach(() => ops.cleanup())

describe('a deploy that ends before it works on a machine leaves every file of the state as it was', () => {
  beforeEach(async () => {
    await open([web, db])
    await run()
    ops.nix.network = fakeNetwork(branch, { description: 'second' })
  })

  it('with --build-only, except for the GC roots of the build, whatever the branch says', async () => {
    const before = await everyFile('gcroots')
    const roots = await everyFile()
    const { results } = await run({ until: 'build' })
    expect(results.map(({ machine, outcome }) => [machine, outcome])).toEqual([
      ['app', 'unchanged'],
      ['web', 'unchanged'],
    ])
    expect(ops.nix.builds.flat()).not.toEqual([])
    expect(await everyFile('gcroots')).toEqual(before)
    // The GC roots of the running closures remain beside the roots of the built closures.
    expect(await everyFile()).toMatchObject(roots)
    const added = Object.keys(await everyFile()).filter((path) => !(path in roots))
    expect(added.map((path) => path.slice(path.lastIndexOf('/') + 1))).toEqual(['app+built-1', 'web+built-2'])
    expect((await recordOf('web'))?.target?.host).toBe('old.example')
    expect((await recordOf('db'))?.obsolete).toBe(false)
  })

  it('with --build-only of machines that cannot be inspected or do not build', async () => {
    ops.ssh.hostKeys.set('web', 'another key')
    ops.nix.brokenBuilds.add('app')
    const before = await everyFile('logs')
    await expect(run({ until: 'build' })).rejects.toThrow("machine 'app' does not build")
    const { results } = await run({ until: 'build', keepGoing: true })
    expect(results.map(({ outcome }) => outcome)).toEqual(['failed', 'failed'])
    expect(await everyFile('logs')).toEqual(before)
  })

  it.each<[string, Partial<DeployRequest>]>([
    ['reboots', { forceReboot: true }],
    ['destroys', { killObsolete: true }],
  ])('with "no" as the answer to a plan that %s', async (_, request) => {
    const before = await everyFile()
    ops.answerTo = false
    await expect(run({ ...request, yes: false })).rejects.toThrow('nothing was changed')
    expect(ops.asked).toHaveLength(1)
    expect(await everyFile()).toEqual(before)
  })

  it('without a terminal to ask on', async () => {
    const before = await everyFile()
    await expect(run({ forceReboot: true, yes: false })).rejects.toThrow('nobody is there to answer')
    expect(await everyFile()).toEqual(before)
  })

  it('after Ctrl-C at the question', async () => {
    const before = await everyFile()
    ops.questions.confirm = async () => {
      throw interrupted()
    }
    await expect(run({ forceReboot: true, yes: false })).rejects.toMatchObject({ exitCode: 130 })
    expect(await everyFile()).toEqual(before)
  })

  it('when the expression does not evaluate or asks for something impossible', async () => {
    const before = await everyFile()
    ops.nix.network = fakeNetwork([fakeMachine('web', { fake: { diskSize: 1 } })])
    await expect(run()).rejects.toThrow('cannot shrink')
    ops.nix.evaluate = async () => {
      throw usageError('hydra.nix: syntax error')
    }
    await expect(run()).rejects.toThrow('syntax error')
    expect(await everyFile()).toEqual(before)
  })

  it('also when the look needed a host key and the key of the hashes, and lines were logged', async () => {
    await open([fakeMachine('web')])
    await run({ until: 'create' })
    wantTask()
    const { connect } = ops.ssh
    ops.ssh.connect = (target, options) => connect({ ...target, hostKey: undefined }, options)
    const before = await everyFile()
    const beforeBuild = await everyFile('gcroots')
    expect(Object.keys(before).some((path) => path.endsWith('hash.key'))).toBe(false)
    ops.answerTo = false
    const refused = run({ forceReboot: true, yes: false, acceptHostKey: true })
    await expect(refused).rejects.toThrow('nothing was changed')
    expect(await everyFile()).toEqual(before)
    await run({ until: 'build', acceptHostKey: true })
    expect(await everyFile('gcroots')).toEqual(beforeBuild)
    await run({ acceptHostKey: true })
    const after = await everyFile()
    expect(Object.keys(after).some((path) => path.endsWith('hash.key'))).toBe(true)
    expect(Object.entries(after).find(([path]) => path.endsWith('web.log'))?.[1]).toContain(
      'accepted the host key',
    )
    const events = (await ops.store.history((await ops.store.resolve('net')).uuid)).map(({ event }) => event)
    expect(events.lastIndexOf('ssh.hostkey')).toBeGreaterThan(events.lastIndexOf('deploy.begin'))
  })
})

describe('the log of a deploy that failed before it worked on a machine', () => {
  let earlier: string

  beforeEach(async () => {
    await open([web, db])
    beginRun('20260101-000000-aaaaaa')
    await run()
    earlier = ops.operator.run
    beginRun('20260102-000000-bbbbbb')
  })

  function beginRun(name: string): void {
    Object.assign(ops, { operator: { ...ops.operator, run: name } })
  }
  const lastLog = (machine?: string) => readLogs(ops, { deployment: 'net', machine, run: undefined })
  const textOf = async (machine?: string) =>
    (await lastLog()).machines
      .filter((part) => part.machine === machine)
      .map(({ text }) => text)
      .join('')

  it.each<[string, Partial<DeployRequest>]>([
    ['with --build-only', { until: 'build' }],
    ['without it', {}],
  ])('holds the words of the builder and how it ended, %s', async (_, request) => {
    const { build } = ops.nix
    ops.nix.build = async (derivations, flags, of) => {
      of.log('cc: out of memory')
      return build(derivations, flags, of)
    }
    ops.nix.brokenBuilds.add('web')
    await expect(run(request)).rejects.toThrow("machine 'web' does not build")
    expect((await lastLog()).run).toBe(ops.operator.run)
    expect(await textOf()).toMatch(/cc: out of memory\n.*machine 'web' does not build/s)
  })

  it('names each failed machine when --keep-going lets the others be built', async () => {
    ops.nix.brokenBuilds.add('web')
    const { results } = await run({ until: 'build', keepGoing: true })
    expect(results.map(({ outcome }) => outcome)).toEqual(['unchanged', 'failed'])
    expect((await lastLog('web')).run).toBe(ops.operator.run)
    expect(await textOf('web')).toMatch(
      /failed at build: machine 'web' does not build\n\S+ {3}cc: no space left\n$/,
    )
    expect((await lastLog('db')).run).toBe(earlier)
  })

  it('holds the words of an evaluation that reached its deadline', async () => {
    ops.nix.evaluate = async (_, of) => {
      of.log('trace: fetching')
      throw failure('DEADLINE', 'the evaluation did not end within 600 s')
    }
    await expect(run()).rejects.toThrow('did not end within')
    expect((await lastLog()).run).toBe(ops.operator.run)
    expect(await textOf()).toMatch(/trace: fetching\n.*did not end within 600 s/s)
  })

  it('holds an error that is a bug', async () => {
    ops.nix.evaluate = async () => {
      throw new TypeError('x is not a function')
    }
    await expect(run()).rejects.toThrow('x is not a function')
    expect(await textOf()).toContain('x is not a function')
  })

  it.each<[string, () => void]>([
    [
      'of an expression that is wrong',
      () => {
        throw usageError('hydra.nix: syntax error')
      },
    ],
    [
      'after Ctrl-C',
      () => {
        throw interrupted()
      },
    ],
  ])('is not kept %s', async (_, end) => {
    ops.nix.evaluate = async (_wanted, of) => {
      of.log('trace: fetching')
      end()
      throw new Error('it goes on')
    }
    await expect(run()).rejects.toThrow(/syntax error|interrupted/)
    expect((await lastLog()).run).toBe(earlier)
  })
})

describe('the observation of a machine by a deploy', () => {
  it('is not written before the deploy’s own work begins', async () => {
    await open([
      fakeMachine('web', { deployment: { tags: ['early'] } }),
      fakeMachine('db', { deployment: { tags: ['late'] } }),
    ])
    ops.nix.network = fakeNetwork([...ops.nix.network.machines.values()], { ordering: ['early', 'late'] })
    const seen: string[][] = []
    const { copy } = ops.nix
    ops.nix.copy = async (...given) => {
      seen.push(Object.keys((await ops.store.resolve('net')).machines))
      return copy(...given)
    }
    await run()
    expect(seen).toEqual([['web'], ['web', 'db']])
  })

  it('is not written for an unselected machine', async () => {
    await open([web, db])
    await run({ selection: { on: 'web' } })
    expect(await recordOf('db')).toBeUndefined()
    ops.nix.network = fakeNetwork([movedWeb, db])
    await run({ selection: { on: 'db' } })
    expect((await recordOf('web'))?.target?.host).toBe('old.example')
    expect((await recordOf('db'))?.deployed).toBeDefined()
    await run({ selection: { on: 'web' } })
    expect((await recordOf('web'))?.target?.host).toBe('new.example')
  })

  it('is not written when another machine does not build, except for the memory of --retry-failed', async () => {
    await open([web, db])
    await run()
    ops.nix.network = fakeNetwork([movedWeb, app])
    ops.nix.brokenBuilds.add('web')
    const before = (await ops.store.resolve('net')).machines
    await expect(run()).rejects.toThrow("machine 'web' does not build")
    expect((await ops.store.resolve('net')).machines).toEqual({
      ...before,
      web: { ...before[web.name], lastResult: 'failed' },
    })
    expect((await ops.store.resolve('net')).description).toBe('first')
  })

  it('marks machines as obsolete, and as wanted again, once machines are worked on', async () => {
    await open([web, db])
    await run()
    ops.nix.network = fakeNetwork([web])
    await run({ selection: { on: 'web' } })
    expect((await recordOf('db'))?.obsolete).toBe(true)
    ops.nix.network = fakeNetwork([web, db])
    ops.nix.evaluations.length = 0
    await run()
    expect((await recordOf('db'))?.obsolete).toBe(false)
    // The last evaluation gets the addresses of all machines.
    expect(Object.keys(ops.nix.evaluations.at(-1)?.physical ?? {})).toEqual(['web', 'db'])
  })
})

describe('a port that was only proposed', () => {
  /** Deploys `other` while `net` waits for confirmation. `other` takes the port that the plan of `net` proposes. */
  async function takenMeanwhile(): Promise<void> {
    await create('other')
    ops.nix.network = fakeNetwork([fakeMachine('gate')])
    const allocate = ops.providers.named('fake').allocate
    Object.assign(ops.providers.named('fake'), {
      allocate: (request: Parameters<typeof allocate>[0]) =>
        allocate({ ...request, deployment: net, machine: web.name }),
    })
    await run({ deployment: 'other' })
  }
  let net: DeploymentUuid

  beforeEach(async () => {
    await open([fakeMachine('web'), db])
    net = (await ops.store.resolve('net')).uuid
  })

  it('is called proposed in the plan until it is written', async () => {
    const details: unknown[] = []
    const onPlan: DeployRequest['onPlan'] = (plan) =>
      details.push(plan.machines[0]?.items.find(({ action }) => action === 'create')?.detail)
    await run({ onPlan, until: 'build' })
    expect(details).toEqual([expect.stringMatching(/ · proposed ports 127\.0\.0\.1:\d+$/)])
    const { ensureKeyPair } = ops.ssh
    ops.ssh.ensureKeyPair = async (file, given) => {
      if (file.includes('ssh_host')) throw new Error('as if it ended here')
      return ensureKeyPair(file, given)
    }
    await run({ onPlan })
    await run({ onPlan })
    expect(details.slice(1)).toEqual([
      expect.stringMatching(/ · proposed ports /),
      expect.stringMatching(/ · ports /),
    ])
  })

  it('is replaced, with a notice, when another deployment took it meanwhile', async () => {
    const build = ops.nix.build
    ops.nix.build = async (...given) => {
      ops.nix.build = build
      const wanted = ops.nix.network
      await takenMeanwhile()
      ops.nix.network = wanted
      return build(...given)
    }
    const { results } = await run()
    expect(results.map(({ outcome, reason }) => [outcome, reason])).toEqual([
      ['changed', undefined],
      ['changed', undefined],
    ])
    const records = [recordOf('gate', 'other'), recordOf('web'), recordOf('db')]
    const ports = (await Promise.all(records)).map((record) => Object(record?.allocation).sshPort)
    expect(new Set(ports).size).toBe(3)
    const notices = ops.emitted.flatMap((event) => (event.kind === 'notice' ? event.text : []))
    expect(notices).toEqual([
      `machine 'web': another deployment took port ${ports[0]} meanwhile; the machine now has 127.0.0.1:${ports[1]}`,
    ])
    expect((await run()).results.map(({ outcome }) => outcome)).toEqual(['unchanged', 'unchanged'])
  })
})
