import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { failure } from '../../src/core/errors.js'
import { MachineName } from '../../src/core/names.js'
import type { NixFlags } from '../../src/core/nix.js'
import type { CommandResult } from '../../src/core/ssh.js'
import { deploy } from '../../src/deploy/deploy.js'
import { drainBuilder, listBuilders, resumeBuilder, testBuilders } from '../../src/operations/builders.js'
import { destroyMachines } from '../../src/operations/destroy.js'
import { hostLines } from '../../src/operations/operator-builders.js'
import { authorizedKeys, type Logins, loginsOf } from '../../src/setup/builders/account.js'
import { builderHostKey } from '../fakes/builder-peers.js'
import { runFakeDebian } from '../fakes/fake-debian.js'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import { createFakeOps, type FakeOps, rememberNetwork } from '../fakes/fake-ops.js'
import { succeed } from '../fakes/fake-ssh.js'
import { fakeTask } from '../fakes/fake-task.js'
import { standardRequest } from '../fakes/standard-request.js'

/** Public keys that the builder accepts, as its set-up task would write them. */
let letIn: string
/** Flags of each build. */
let flags: NixFlags[]
/** Outputs of this host's programs, by program name. */
let answers: Record<string, string>
let proved: { readonly name: string; readonly list: string; readonly through: string }[]
let remote: string
let ops: FakeOps
/** Public keys that the builder's task wants to accept. */
let keys: Logins['keys']

const forOperator = { enable: true, for: 'operator' }
const network = (builder: unknown = forOperator) =>
  fakeNetwork([fakeMachine('b1', { deployment: { builder } }), fakeMachine('web')])

beforeEach(async () => {
  letIn = ''
  flags = []
  proved = []
  remote = 'fake'
  answers = { id: 'tester wheel\n', ssh: '' }
  ops = await createFakeOps({ network: network() })
  runFakeDebian(ops)
  // A list of builders with an invalid host key would be refused.
  const ensure = ops.ssh.ensureKeyPair
  ops.ssh.ensureKeyPair = async (file, run) => {
    const made = await ensure(file, run)
    return file.includes('ssh_host') ? builderHostKey : made
  }
  ops.ssh.answer('count the running builds', () => succeed('serving=0\n'))
  const build = ops.nix.build
  Object.assign(ops.nix, {
    describeStore: async () => ({ remote, why: 'a test' }),
    settings: async () =>
      new Map([
        ['builders', '@/etc/nix/machines'],
        ['trusted-users', 'root @admins'],
      ]),
    build: async (...given: Parameters<typeof build>) => {
      flags.push(given[1])
      return build(...given)
    },
  })
  Object.assign(ops, {
    local: {
      ...ops.local,
      run: async ([program = '']: readonly string[]): Promise<CommandResult> => {
        if (answers[program] === undefined) throw new Error(`a test ran a real program: ${program}`)
        return { kind: 'exited', code: 0, stdout: answers[program], stderr: '' }
      },
    },
    proveBuilder: async (place: (typeof proved)[number]) => {
      proved.push(place)
    },
    tasks: async () => [
      fakeTask('builder', {
        stage: 'offer',
        wanted: (machine) => {
          const { builder } = machine.definition.options
          keys = builder.enable ? loginsOf(machine).keys : []
          if (builder.enable) return { keys }
          return (machine.outputs?.builder?.user ?? '') === '' ? undefined : { keys: [] }
        },
        probe: async () => 'done',
        apply: async () => {
          letIn = authorizedKeys(keys, { task: 'builder', command: 'nix-store --serve --write' })
          return keys.length === 0
            ? { user: '', for: '', entry: '' }
            : {
                user: 'nix-builder',
                for: keys.map(({ machine }) => machine).join(','),
                entry: 'nix-builder@b1:22 x86_64-linux 4 1 big-parallel -',
              }
        },
      }),
    ],
  })
  await rememberNetwork(ops)
  await deploy(ops, standardRequest)
})
afterEach(() => ops.cleanup())

const record = () => ops.store.resolve(undefined)
const folder = async () => join(ops.files.paths((await record()).uuid).root, 'builders')
const keyFile = async () => ops.secrets.of((await record()).uuid).builderKeyFile
const notices = () => ops.emitted.flatMap((event) => (event.kind === 'notice' ? [event.text] : []))
const said = (text: string) => expect(notices()).toContainEqual(expect.stringContaining(text))
const build = async () => {
  flags = []
  await deploy(ops, { ...standardRequest, until: 'build' })
  return flags[0]
}

describe('a builder for the operator', () => {
  it('lets the key of the operator in, whose private half only its user can read', async () => {
    const key = await keyFile()
    const publicKey = readFileSync(`${key}.pub`, 'utf8').trim().split(' ').slice(0, 2).join(' ')
    expect(letIn).toContain(`restrict,command="nix-store --serve --write" ${publicKey} hydra-ops:operator\n`)
    expect(statSync(key).mode & 0o777).toBe(0o600)
    expect(
      JSON.stringify(ops.emitted) + JSON.stringify(ops.logged) + JSON.stringify(await record()),
    ).not.toContain('a made-up private key')
  })

  it('has no key in a deployment whose builders are for machines alone', async () => {
    const other = await createFakeOps({ network: network({ enable: true, for: ['web'] }) })
    runFakeDebian(other)
    await rememberNetwork(other)
    await deploy(other, standardRequest)
    expect(existsSync(other.secrets.of((await other.store.resolve(undefined)).uuid).builderKeyFile)).toBe(
      false,
    )
    other.cleanup()
  })

  it('gets the next builds of hydra-ops, by a list with pinned host keys in the folder of the deployment', async () => {
    said("this host's Nix will build on 'b1' in later runs of hydra-ops")
    const used = await build()
    const list = join(await folder(), 'machines')
    expect(used).toMatchObject({
      builders: `@/etc/nix/machines;@${list}`,
      sshConfig: join(await folder(), 'ssh_config'),
      options: [['builders-use-substitutes', 'true']],
    })
    expect(readFileSync(list, 'utf8')).toContain(
      '\nssh://nix-builder@b1 x86_64-linux - 4 1 big-parallel - -\n',
    )
    expect(readFileSync(join(await folder(), 'ssh_config'), 'utf8')).toContain(
      join(await folder(), 'known_hosts'),
    )
    expect(readFileSync(join(await folder(), 'known_hosts'), 'utf8')).toMatch(/^b1 ssh-ed25519 /)
  })

  it('gets no build if the user chose builders', async () => {
    const chosen = { ...standardRequest.nix, builders: '' }
    await deploy(ops, { ...standardRequest, until: 'build', nix: chosen })
    expect(flags.at(-1)).toEqual(chosen)
  })

  it('is listed as one for the operator', async () => {
    expect(await listBuilders(ops, undefined)).toMatchObject([
      { builder: 'b1', usedBy: 'operator', drained: false },
    ])
  })

  it('is proved by the Nix of this host', async () => {
    expect(await testBuilders(ops, { deployment: undefined, maxConcurrent: 1 })).toMatchObject([
      { machine: 'operator', outcome: 'unchanged' },
    ])
    expect(proved).toMatchObject([{ name: 'ssh://nix-builder@b1', through: 'own', runAs: '' }])
  })

  it('is drained for this host, stays so through a deploy, and is proved when it gets builds again', async () => {
    const request = { deployment: undefined, maxConcurrent: 1, builder: 'b1' }
    await drainBuilder(ops, { ...request, deadlineMs: 20_000, idleMs: 0, pauseMs: 1 })
    await deploy(ops, standardRequest)
    const list = join(await folder(), 'machines')
    expect(readFileSync(list, 'utf8')).toMatch(/ - 0 1 /)
    expect(await listBuilders(ops, undefined)).toMatchObject([{ drained: true }])
    ops.emitted.length = 0
    await testBuilders(ops, request)
    expect(proved).toEqual([])
    expect(ops.emitted).toContainEqual({
      kind: 'line',
      machine: 'operator',
      line: "builder 'b1' is drained, and not tried",
    })
    await resumeBuilder(ops, request)
    expect(readFileSync(list, 'utf8')).toMatch(/ - 4 1 /)
    expect(proved).toHaveLength(1)
  })

  it('leaves no list and no key once it left the expression', async () => {
    ops.nix.network = network({ enable: false })
    await deploy(ops, standardRequest)
    expect(existsSync(await folder())).toBe(false)
    expect(existsSync(await keyFile())).toBe(false)
    expect(existsSync(`${await keyFile()}.pub`)).toBe(false)
    expect((await build())?.builders).toBeUndefined()
  })
})

it('a builder for the operator that is destroyed leaves no list and no key', async () => {
  const all = { deployment: undefined, selection: {}, yes: true, maxConcurrent: 1 }
  await destroyMachines(ops, { ...all, selection: { on: 'web' } })
  expect(existsSync(await keyFile())).toBe(true)
  await destroyMachines(ops, { ...all, selection: { on: 'b1' } })
  expect(existsSync(await keyFile())).toBe(false)
  expect(existsSync(await folder())).toBe(false)
})

it('a builder without an address gets no build, and its proof fails with the reason', async () => {
  const { machines } = await record()
  const { provider = '' } = machines[MachineName.parse('b1')] ?? {}
  vi.spyOn(ops.providers.named(provider), 'target').mockRejectedValue(failure('NO_ADDRESS', 'no lease'))
  const { lines, hindrances } = await hostLines(ops, undefined)
  expect(lines).toEqual([])
  expect(hindrances).toEqual(["builder 'b1' has no address for this host: no lease"])
  expect(await testBuilders(ops, { deployment: undefined, maxConcurrent: 1 })).toMatchObject([
    { outcome: 'failed', reason: "builder 'b1' has no address for this host: no lease" },
  ])
})

describe('a builder for an operator with a Nix daemon', () => {
  beforeEach(() => {
    remote = 'daemon'
  })

  it('gets no build while the daemon does not trust the user, and the lines for root are shown', async () => {
    expect((await build())?.builders).toBeUndefined()
    said("the Nix daemon of this host does not trust user 'tester', and ignores the builders of that user")
    said(`\nssh://nix-builder@hydra-ops-`)
  })

  it('gets no build while the ssh of root does not reach its port, and the settings are shown', async () => {
    answers.id = 'tester admins\n'
    expect((await build())?.builders).toBeUndefined()
    said("the Nix daemon of this host does not reach builder 'b1' without these lines")
    expect(await testBuilders(ops, { deployment: undefined, maxConcurrent: 1 })).toMatchObject([
      { outcome: 'failed', reason: expect.stringContaining("does not reach builder 'b1'") },
    ])
  })

  it('gets builds if the Nix of this host does not show its settings', async () => {
    ops.nix.settings = async () => {
      throw failure('NIX', 'unknown command')
    }
    answers.id = 'tester\n'
    const { sshBlocks } = await hostLines(ops, undefined)
    answers.ssh = (sshBlocks[0] ?? '').replaceAll(/^ {2}/gm, '').toLowerCase()
    expect((await build())?.builders).toContain('@/etc/nix/machines;@')
    expect(JSON.stringify([ops.emitted, ops.logged])).toContain(
      'cannot read the settings of Nix: unknown command',
    )
  })

  it('keeps its list if a new line would be wrong', async () => {
    const list = join(await folder(), 'machines')
    const before = readFileSync(list, 'utf8')
    const { uuid } = await record()
    await ops.store.lock(uuid, (held) =>
      held.updateMachine(MachineName.parse('b1'), (draft) => {
        draft.hostKey = 'ssh-ed25519 not in base64'
      }),
    )
    await expect(hostLines(ops, undefined)).rejects.toMatchObject({
      code: 'BUILDER_LIST',
      message: expect.stringMatching(/^the list of this host's builders is wrong: line \d/),
      hint: 'correct deployment.builder of that builder; the current list was not changed',
    })
    expect(readFileSync(list, 'utf8')).toBe(before)
  })

  it('gets builds by the daemon once both hold, without settings of ssh of ours', async () => {
    answers.id = 'tester admins\n'
    const { sshBlocks, lines } = await hostLines(ops, undefined)
    answers.ssh = (sshBlocks[0] ?? '').replaceAll(/^ {2}/gm, '').toLowerCase()
    const used = await build()
    expect(used?.builders).toBe(`@/etc/nix/machines;@${join(await folder(), 'machines')}`)
    expect(used?.sshConfig).toBeUndefined()
    expect(lines).toEqual([expect.stringMatching(/^ssh:\/\/nix-builder@hydra-ops-\S+ x86_64-linux \S+ 4 1 /)])
    await testBuilders(ops, { deployment: undefined, maxConcurrent: 1 })
    expect(proved).toMatchObject([{ through: 'daemon', list: join(await folder(), 'machines') }])
  })

  it("is proved by root's own list where the daemon does not trust the user", async () => {
    const { sshBlocks } = await hostLines(ops, undefined)
    answers.ssh = (sshBlocks[0] ?? '').replaceAll(/^ {2}/gm, '').toLowerCase()
    await testBuilders(ops, { deployment: undefined, maxConcurrent: 1 })
    expect(proved).toMatchObject([{ through: 'daemon', list: '/etc/nix/machines' }])
  })
})

it('no machine that builds for this host is an error with a remedy', async () => {
  ops.nix.network = network({ enable: false })
  await deploy(ops, standardRequest)
  await expect(hostLines(ops, undefined)).rejects.toMatchObject({
    code: 'NO_BUILDERS',
    message: 'no machine of the deployment builds for this host yet',
    hint: 'set deployment.builder.for = "operator" on a machine, then run hydra-ops deploy',
  })
})
