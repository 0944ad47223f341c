import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { bindProvider } from '../../src/core/bind-provider.js'
import type { MachineDefinition } from '../../src/core/definition.js'
import { usageError } from '../../src/core/errors.js'
import { MachineName } from '../../src/core/names.js'
import { checkMachines, checkStatus, readLook } from '../../src/operations/check.js'
import { consoleLog, openConsole } from '../../src/operations/console.js'
import { deploy } from '../../src/operations/deploy/deploy.js'
import { imagesInUse } from '../../src/operations/images.js'
import { deploymentInfo } from '../../src/operations/info.js'
import { copyFiles } from '../../src/operations/scp.js'
import { printSshConfig } from '../../src/operations/ssh-config.js'
import { sshForEach } from '../../src/operations/ssh-for-each.js'
import { sshSession } from '../../src/operations/ssh-session.js'
import { runFakeDebian } from '../fakes/fake-debian.js'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import { createFakeOps, type FakeOps, fakeRegistry } from '../fakes/fake-ops.js'
import { createFakeProvider } from '../fakes/fake-provider.js'
import { exit, succeed } from '../fakes/fake-ssh.js'
import { standardRequest } from '../fakes/standard-request.js'

let ops: FakeOps
let ran: string[][]

/** Two machines, deployed. */
beforeEach(async () => {
  ran = []
  ops = await createFakeOps({ network: network('v1') })
  Object.assign(ops.local, {
    interactive: async (argv: readonly string[]) => {
      ran.push([...argv])
      return 7
    },
  })
  runFakeDebian(ops)
  ops.store.create({ name: undefined, expressions: ['/net.nix'], searchPath: [], args: {} })
  await deploy(ops, { ...standardRequest, deployment: undefined })
  ops.nix.evaluations.length = 0
  ops.ssh.execs.length = 0
})
afterEach(() => ops.cleanup())

function network(version: string, ...more: MachineDefinition[]) {
  const tagged = (name: string, tag: string, forwardPorts: number[] = []) =>
    fakeMachine(name, { version, deployment: { tags: [tag] }, fake: { forwardPorts } })
  return fakeNetwork([tagged('web', 'front', [18080]), tagged('db', 'back'), ...more])
}

const machine = (name: string) => MachineName.parse(name)
const resourceName = (name: string) => `hydra-ops-${ops.store.resolve(undefined).uuid}-${name}`
const stateText = () =>
  readFileSync(`${ops.store.paths(ops.store.resolve(undefined).uuid).root}/state.json`, 'utf8')

describe('info', () => {
  const info = async (how: { evaluate?: boolean; probe?: boolean } = {}) => {
    const [only] = await deploymentInfo(ops, {
      deployment: undefined,
      all: false,
      evaluate: true,
      probe: true,
      nix: standardRequest.nix,
      ...how,
    })
    if (only === undefined) throw new Error('no info')
    return only
  }
  const statuses = async (how: { evaluate?: boolean; probe?: boolean } = {}) =>
    (await info(how)).machines.map(({ name, state, currency }) => [name, state, currency])

  it('says what is up and current, where, and what it publishes', async () => {
    const before = stateText()
    const { machines } = await info()
    expect(machines).toMatchObject([
      { name: 'db', state: 'up', currency: 'up-to-date', type: 'fake', urls: [] },
      { name: 'web', state: 'up', currency: 'up-to-date', urls: ['http://127.0.0.1:18080/'] },
    ])
    expect(machines[1]?.address).toMatch(/^\d+\.\d+\.\d+\.\d+$/)
    expect(machines[1]?.resourceId).not.toBe('')
    expect(stateText()).toBe(before)
    expect(ops.nix.evaluations.map((evaluation) => evaluation.mode)).toEqual(['read'])
  })

  it('tells what a changed, grown and shrunk network means for each machine', async () => {
    ops.nix.network = fakeNetwork([fakeMachine('web', { version: 'v2' }), fakeMachine('cache')])
    expect(await statuses()).toEqual([
      ['cache', 'missing', 'new'],
      ['db', 'up', 'obsolete'],
      ['web', 'up', 'outdated'],
    ])
  })

  it('takes another size of the machine for outdated too', async () => {
    ops.nix.network = fakeNetwork([fakeMachine('web', { fake: { memorySize: 4096 } }), fakeMachine('db')])
    expect(await statuses()).toContainEqual(['web', 'up', 'outdated'])
  })

  it('sees what is stopped, gone, silent or somebody else’s', async () => {
    ops.hypervisor.stop(resourceName('web'))
    expect(await statuses()).toContainEqual(['web', 'stopped', 'up-to-date'])
    ops.ssh.probe = async () => false
    expect(await statuses()).toContainEqual(['db', 'unreachable', 'up-to-date'])
    ops.hypervisor.undefine(resourceName('web'))
    expect(await statuses()).toContainEqual(['web', 'missing', 'up-to-date'])
  })

  it('without probing goes by the state, without evaluating says nothing of what is current', async () => {
    ops.hypervisor.stop(resourceName('web'))
    ops.nix.evaluate = async () => {
      throw new Error('it evaluated')
    }
    ops.ssh.probe = async () => {
      throw new Error('it probed')
    }
    expect(await statuses({ evaluate: false, probe: false })).toEqual([
      ['db', 'up', undefined],
      ['web', 'up', undefined],
    ])
  })

  it('still shows what is known when the expression is broken', async () => {
    ops.nix.evaluate = async () => {
      throw usageError('syntax error')
    }
    const { machines, evaluationError } = await info()
    expect(machines.map((each) => each.state)).toEqual(['up', 'up'])
    expect(evaluationError).toMatchObject({ exitCode: 2 })
  })

  it('calls a host that exists unreachable when it does not answer, and asks it only once', async () => {
    const provider = createFakeProvider(ops.hypervisor)
    const inspected: string[] = []
    const existing = {
      ...provider,
      makesMachines: false,
      inspect: async ({ machine: name }: Parameters<typeof provider.inspect>[0]) => {
        inspected.push(name)
        return name === 'web'
          ? { kind: 'unknown' as const, reason: 'no route' }
          : { kind: 'running' as const }
      },
    }
    Object.assign(ops, { providers: fakeRegistry([bindProvider(existing)]) })
    ops.ssh.probe = async () => {
      throw new Error('it was asked again')
    }
    expect((await info()).machines).toMatchObject([
      { name: 'db', state: 'up' },
      { name: 'web', state: 'unreachable', detail: 'no route' },
    ])
    expect(inspected.sort()).toEqual(['db', 'web'])
    const report = await checkMachines(ops, { deployment: undefined, selection: { on: 'web' } })
    expect(report.machines[0]).toMatchObject({ exists: true, up: undefined, reachable: false })
    expect(checkStatus(report)).toBe(4)
  })

  it('is not kept from the others by one hypervisor that does not answer', async () => {
    const provider = createFakeProvider(ops.hypervisor)
    const silent = {
      ...provider,
      inspect: async (resource: Parameters<typeof provider.inspect>[0]) => {
        if (resource.machine === 'web') throw new Error('connection refused')
        return { kind: 'running' as const }
      },
    }
    Object.assign(ops, { providers: fakeRegistry([bindProvider(silent)]) })
    const { machines } = await info()
    expect(machines).toMatchObject([
      { name: 'db', state: 'up' },
      { name: 'web', state: 'unknown', detail: 'connection refused' },
    ])
  })
})

describe('check', () => {
  const look = (inside: string) => ops.ssh.answer('look at disks and units', succeed(inside))
  const healthy = 'load 0.00 0.01 0.05\ndisk 12 /\nunits\n'
  const check = (on?: string) => checkMachines(ops, { deployment: undefined, selection: { on } })

  it('finds nothing wrong where nothing is', async () => {
    look(healthy)
    const before = stateText()
    const report = await check()
    expect(report).toEqual({
      machines: ['db', 'web'].map((name) => ({
        name,
        exists: true,
        up: true,
        reachable: true,
        disksOk: true,
        load: '0.00 0.01 0.05',
        failedUnits: [],
        notes: [],
        stoppedOnPurpose: false,
      })),
      orphans: [],
      problems: [],
    })
    expect(checkStatus(report)).toBe(0)
    expect(stateText()).toBe(before)
  })

  it('adds up what is wrong as NixOps does', async () => {
    ops.ssh.answer('look at disks and units', ({ machine: name }) =>
      succeed(name === 'db' ? 'load 9 9 9\ndisk 97 /nix\nunits\nfailed nginx.service\n' : healthy),
    )
    const report = await check()
    expect(report.machines[0]).toMatchObject({
      disksOk: false,
      failedUnits: ['nginx.service'],
      notes: ['/nix is 97 % full'],
    })
    expect(checkStatus(report)).toBe(8 + 16)
    ops.hypervisor.undefine(resourceName('web'))
    expect(checkStatus(await check())).toBe(1 + 8 + 16)
    expect(checkStatus(await check('web'))).toBe(1)
  })

  it('tells a machine that is down from one that was stopped on purpose', async () => {
    look(healthy)
    ops.hypervisor.stop(resourceName('web'))
    expect(checkStatus(await check('web'))).toBe(2)
    const { uuid } = ops.store.resolve(undefined)
    await ops.store.lock(uuid, async (held) =>
      held.update((draft) => Object.assign(draft.machines[machine('web')] ?? {}, { stoppedOnPurpose: true })),
    )
    expect(checkStatus(await check('web'))).toBe(0)
  })

  it('says 4 for a machine that does not answer, or that nobody can be asked about', async () => {
    ops.ssh.connect = async () => {
      throw usageError('host key changed')
    }
    const report = await check('web')
    expect(report.machines[0]).toMatchObject({ reachable: false, notes: ['host key changed'] })
    expect(checkStatus(report)).toBe(4)
    Object.assign(ops, { providers: fakeRegistry([]) })
    expect(checkStatus(await check('web'))).toBe(4)
  })

  it('knows a failing systemd, a machine without one, and a read-only root', () => {
    expect(readLook('load 1 1 1\ndisk 10 /\n')).toMatchObject({ failedUnits: undefined, disksOk: true })
    expect(readLook('load 1 1 1\nreadonly /\nunits\n')).toMatchObject({
      disksOk: false,
      notes: ['/ is mounted read-only'],
    })
  })

  it('lists resources with our mark that are in no deployment', async () => {
    look(healthy)
    const { uuid } = ops.store.resolve(undefined)
    await ops.store.lock(uuid, async (held) =>
      held.update((draft) => {
        delete draft.machines[machine('db')]
      }),
    )
    expect((await check()).orphans).toEqual([{ name: resourceName('db'), deployment: uuid, machine: 'db' }])
  })

  it('calls nothing an orphan while a state cannot be read', async () => {
    look(healthy)
    const other = ops.store.create({ name: undefined, expressions: ['/o.nix'], searchPath: [], args: {} })
    const first = ops.store.list().find((record) => record.uuid !== other.uuid)
    writeFileSync(`${ops.store.paths(other.uuid).root}/state.json`, '{')
    const report = await checkMachines(ops, { deployment: first?.uuid, selection: {} })
    expect(report.orphans).toEqual([])
    expect(report.problems).toHaveLength(1)
  })
})

describe('ssh', () => {
  const session = (who: string, ...args: string[]) => sshSession(ops, { deployment: undefined, who, args })

  it('hands the terminal to the system’s ssh with a configuration of its own, and returns its status', async () => {
    expect(await session('alice@web', '-t', '--', 'echo $HOME')).toBe(7)
    const [argv = []] = ran
    const config = argv[2] ?? ''
    expect(argv).toEqual(['ssh', '-F', config, '-l', 'alice', '-t', '--', 'web', 'echo $HOME'])
    expect(readFileSync(config, 'utf8')).toContain('Host web')
    expect(readFileSync(config, 'utf8')).not.toContain('Host db')
    expect(statSync(config).mode & 0o777).toBe(0o600)
  })

  it('refuses a wrong name before any connection', async () => {
    await expect(session('wbe')).rejects.toMatchObject({ exitCode: 2, hint: "did you mean 'web'?" })
    expect(ran).toEqual([])
  })

  it('says 4 for a machine that does not exist yet, or whose host key is unknown', async () => {
    const { uuid } = ops.store.resolve(undefined)
    await ops.store.lock(uuid, async (held) =>
      held.update((draft) => {
        Object.assign(draft.machines[machine('web')] ?? {}, { handle: undefined })
        Object.assign(draft.machines[machine('db')] ?? {}, { hostKey: undefined })
      }),
    )
    await expect(session('web')).rejects.toMatchObject({ exitCode: 4 })
    await expect(session('db')).rejects.toMatchObject({ exitCode: 4 })
    expect(ran).toEqual([])
  })

  it('writes its configuration only where it differs', async () => {
    await session('web')
    const file = ran[0]?.[2] ?? ''
    const { mtimeMs, ino } = statSync(file)
    await session('web')
    expect(statSync(file)).toMatchObject({ mtimeMs, ino })
  })
})

describe('scp', () => {
  it('copies through the system’s scp, also from machine to machine', async () => {
    const request = { deployment: undefined, from: undefined, to: undefined }
    expect(
      await copyFiles(ops, { ...request, paths: ['web:/etc/hosts', 'a:b', '.'].slice(0, 1).concat('.') }),
    ).toBe(7)
    await copyFiles(ops, { ...request, to: 'web', paths: ['a:b', '/tmp'] })
    await copyFiles(ops, { ...request, paths: ['root@web:/a', 'db:/b'] })
    expect(ran.map((argv) => argv.filter((word) => !word.endsWith('.config')))).toEqual([
      ['scp', '-r', '-F', '--', 'web:/etc/hosts', '.'],
      ['scp', '-r', '-F', '--', './a:b', 'web:/tmp'],
      ['scp', '-r', '-3', '-F', '--', 'root@web:/a', 'db:/b'],
    ])
  })

  it('refuses a machine that is not there', async () => {
    const request = { deployment: undefined, from: undefined, to: undefined }
    await expect(copyFiles(ops, { ...request, paths: ['wbe:/x', '.'] })).rejects.toMatchObject({
      exitCode: 2,
    })
    expect(ran).toEqual([])
  })
})

describe('ssh-config', () => {
  it('has every machine, and a known_hosts that is there', async () => {
    const { text, file, left } = await printSshConfig(ops, { deployment: undefined, selection: {} })
    expect(text).toContain('Host web')
    expect(text).toContain('Host db')
    expect(left).toEqual([])
    const knownHosts = /UserKnownHostsFile (.*)/.exec(text)?.[1] ?? ''
    expect(knownHosts.startsWith('/')).toBe(true)
    expect(readFileSync(knownHosts, 'utf8')).toContain('web ssh-ed25519')
    expect(readFileSync(file, 'utf8')).toBe(text)
  })

  it('leaves out what cannot be reached yet, and says so', async () => {
    const { uuid } = ops.store.resolve(undefined)
    await ops.store.lock(uuid, async (held) =>
      held.update((draft) => Object.assign(draft.machines[machine('web')] ?? {}, { handle: undefined })),
    )
    const { text, left } = await printSshConfig(ops, { deployment: undefined, selection: {} })
    expect(text).not.toContain('Host web')
    expect(left).toEqual([{ machine: 'web', why: "machine 'web' does not exist yet" }])
  })
})

describe('ssh-for-each', () => {
  const lines: string[] = []
  const each = (on: string | undefined, ...command: string[]) =>
    sshForEach(ops, {
      deployment: undefined,
      selection: { on },
      command,
      maxConcurrent: 2,
      onLine: (name, line, stream) => lines.push(`${name} ${stream} ${line}`),
    })

  it('runs the command as the login user on every machine, and tells how each ended', async () => {
    ops.ssh.answer('run the command', ({ machine: name }) => (name === 'web' ? exit(3, 'no') : succeed('ok')))
    const results = await each(undefined, 'uptime', '|', 'cat')
    expect(results.map(({ machine: name, status }) => [name, status]).sort()).toEqual([
      ['db', 0],
      ['web', 3],
    ])
    const [exec] = ops.ssh.execs
    expect(exec).toMatchObject({ script: 'uptime | cat', asLoginUser: true })
  })

  it('reports what a shell would for a signal, and 255 for no connection', async () => {
    ops.ssh.answer('run the command', ({ machine: name }) =>
      name === 'web'
        ? { kind: 'killed', signal: 'KILL', stdout: '', stderr: '' }
        : { kind: 'lost', stdout: '', stderr: '' },
    )
    expect((await each('web', 'x')).map((result) => result.status)).toEqual([137])
    expect((await each('db', 'x')).map((result) => result.status)).toEqual([255])
    ops.hypervisor.stop(resourceName('db'))
    lines.length = 0
    expect((await each('db', 'x')).map((result) => result.status)).toEqual([255])
    expect(lines).toEqual(["db stderr machine 'db' does not answer"])
  })

  it('selects by tag with one cheap evaluation', async () => {
    ops.ssh.answer('run the command', succeed())
    expect((await each('@front', 'x')).map((result) => result.machine)).toEqual(['web'])
    expect(ops.nix.evaluations.map((evaluation) => evaluation.mode)).toEqual(['shape'])
    await expect(each('@nobody', 'x')).rejects.toMatchObject({ exitCode: 2 })
  })
})

describe('console', () => {
  it('hands the terminal to what the provider names', async () => {
    expect(await openConsole(ops, { deployment: undefined, machine: 'web' })).toBe(7)
    expect(ran).toEqual([['echo', `console of ${resourceName('web')}`]])
  })

  it('shows the log where there is one', () => {
    const request = { deployment: undefined, machine: 'web' }
    expect(() => consoleLog(ops, request)).toThrow("there is no console log of machine 'web' yet")
    const { console: folder } = ops.store.paths(ops.store.resolve(undefined).uuid)
    if (!existsSync(dirname(folder))) throw new Error('the deployment has no folder')
    mkdirSync(folder, { recursive: true })
    writeFileSync(`${folder}/web.log`, 'Linux version 6.1\n')
    expect(consoleLog(ops, request)).toBe('Linux version 6.1\n')
  })

  it('is refused for providers that have none', () => {
    const { console: _, ...rest } = createFakeProvider(ops.hypervisor)
    Object.assign(ops, { providers: fakeRegistry([bindProvider(rest)]) })
    expect(() => consoleLog(ops, { deployment: undefined, machine: 'web' })).toThrow(
      'provider fake offers none',
    )
  })
})

it('images that machines stand on are in use', () => {
  expect([...imagesInUse(ops)]).toEqual(['fake-image'])
})
