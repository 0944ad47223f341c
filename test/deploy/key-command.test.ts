import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { CommandResult } from '../../src/core/ssh.js'
import { deploy } from '../../src/deploy/deploy.js'
import type { DeployRequest } from '../../src/deploy/request.js'
import { rebootMachines, startMachines } from '../../src/operations/power.js'
import { sendKeys } from '../../src/operations/send-keys.js'
import { runFakeDebian } from '../fakes/fake-debian.js'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import { createFakeOps, type FakeOps, rememberNetwork } from '../fakes/fake-ops.js'
import { exit, succeed } from '../fakes/fake-ssh.js'
import { fakeTask } from '../fakes/fake-task.js'
import { standardRequest } from '../fakes/standard-request.js'

let ops: FakeOps
/** The arguments of the commands that ran on the operator host. */
let commands: string[]
let runs = 0
/** Returns the texts of the keys that were sent. */
const sent = () => ops.ssh.execs.filter(({ what }) => what === 'deliver keys').map(({ stdin }) => stdin)

beforeEach(async () => {
  commands = []
  const key = (name: string) => ({ keyCommand: ['pass', name] })
  const machine = (name: string) =>
    fakeMachine(name, { deployment: { keys: { one: key(`${name}-one`), two: key(`${name}-two`) } } })
  ops = await createFakeOps({ network: fakeNetwork([machine('web'), machine('db')]) })
  runFakeDebian(ops)
  answerCommands((name) => succeed(`the ${++runs}th secret, of ${name}`))
  ops.ssh.answer('compare keys', succeed('- - - 0:0 open none\n- - - 0:0 open none\n'))
  const others = ['mount the destination of keys', 'deliver keys', 'start the units of keys']
  for (const what of [...others, 'give users access to the folders of their keys'])
    ops.ssh.answer(what, succeed())
  await rememberNetwork(ops)
})
afterEach(() => ops.cleanup())

function answerCommands(answer: (name: string) => CommandResult): void {
  Object.assign(ops.local, {
    run: async (argv: readonly string[]) => {
      const name = argv[1] ?? ''
      commands.push(name)
      return answer(name)
    },
  })
}

const run = (request: Partial<DeployRequest> = {}) => deploy(ops, { ...standardRequest, ...request })
const wish = { deployment: undefined, selection: {}, maxConcurrent: 2 }
const each = ['db-one', 'db-two', 'web-one', 'web-two']

describe('a keyCommand', () => {
  it('runs once in a deploy with a reboot, which sends the keys again with the same text', async () => {
    await run()
    expect([...commands].sort()).toEqual(each)
    commands.length = 0
    const before = sent().length
    await run({ forceReboot: true })
    expect([...commands].sort()).toEqual(each)
    const texts = sent()
      .slice(before)
      .flatMap((text) => text.match(/the \d+th secret, of web-one/g) ?? [])
    // The keys are sent before and after the reboot.
    expect(texts.length).toBeGreaterThan(1)
    expect(new Set(texts).size).toBe(1)
  })

  it('runs once also when the look is repeated after the bootstrap', async () => {
    let done = false
    const task = fakeTask('nix', {
      stage: 'bootstrap',
      debianPackages: () => ['jq'],
      probe: async () => (done ? 'done' : 'needed'),
      apply: async () => {
        done = true
        return {}
      },
    })
    Object.assign(ops, { tasks: async () => [task] })
    ops.ssh.answer(/packages|apt/, succeed())
    await run()
    expect([...commands].sort()).toEqual(each)
  })

  it('is not repeated by the same run when it failed, but by the next run', async () => {
    await run()
    commands.length = 0
    let broken = true
    answerCommands((name) => (broken && name === 'web-one' ? exit(7) : succeed(name)))
    const { results } = await run()
    expect(results).toMatchObject([{ machine: 'db' }, { machine: 'web', outcome: 'failed' }])
    expect(commands.filter((name) => name === 'web-one')).toHaveLength(1)
    broken = false
    expect((await run()).results).not.toContainEqual(expect.objectContaining({ outcome: 'failed' }))
    expect(commands.filter((name) => name === 'web-one')).toHaveLength(2)
  })

  it.each([
    ['send-keys', () => sendKeys(ops, wish)],
    ['reboot', () => rebootMachines(ops, wish)],
    ['start', () => startMachines(ops, wish)],
  ])('runs once in %s, which sends each machine its own text', async (verb, send) => {
    await run()
    if (verb === 'start') for (const name of ops.hypervisor.listing().running) ops.hypervisor.stop(name)
    commands.length = 0
    const before = sent().length
    const results = await send()
    expect(results).toMatchObject([{ outcome: 'changed' }, { outcome: 'changed' }])
    expect([...commands].sort()).toEqual(each)
    const texts = sent()
      .slice(before)
      .flatMap((text) => text.match(/the \d+th secret, of (?:web|db)-(?:one|two)/g) ?? [])
    expect(new Set(texts).size).toBe(4)
  })

  it('is not repeated by a send-keys of two machines when it failed', async () => {
    await run()
    commands.length = 0
    answerCommands((name) => (name === 'web-one' ? exit(7) : succeed(name)))
    expect(await sendKeys(ops, wish)).toMatchObject([
      { machine: 'web', outcome: 'failed' },
      { machine: 'db', outcome: 'changed' },
    ])
    expect([...commands].sort()).toEqual(each)
  })

  it('leaves none of its output in the folder of the state', async () => {
    await run({ forceReboot: true })
    const files = readdirSync(ops.folder, { recursive: true, withFileTypes: true }).filter((entry) =>
      entry.isFile(),
    )
    const texts = files.map((file) => readFileSync(join(file.parentPath, file.name), 'utf8')).join('\n')
    expect(texts).toContain('keys.delivered')
    expect(texts).not.toContain('th secret')
  })
})
