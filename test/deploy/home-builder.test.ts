import { createHash } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { deploy } from '../../src/deploy/deploy.js'
import { runSetup, verifySetup } from '../../src/operations/setup.js'
import { setupTasks } from '../../src/setup/tasks.js'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import { createFakeOps, type FakeOps, rememberNetwork } from '../fakes/fake-ops.js'
import { succeed, surveyOf } from '../fakes/fake-ssh.js'
import { standardRequest } from '../fakes/standard-request.js'

const builder = { enable: true, for: 'operator', sshUser: 'alice', wrapper: ['/home/alice/enter'] }
const network = (more: Record<string, unknown> = {}, rest = {}) =>
  fakeNetwork([fakeMachine('box', { deployment: { builder, ...more }, rest })])

/** The forced command and the public keys in alice's home on the machine. */
let placed: { script: string; keys: string } | undefined
let ops: FakeOps

beforeEach(async () => {
  placed = undefined
  ops = await createFakeOps({ network: network() })
  ops.ssh.sudoless.add('box')
  ops.ssh.answer('read the facts of the machine', surveyOf({ systems: 'rocky', owner: '' }))
  ops.ssh.answer("look at the Nix of user 'alice'", () => {
    const hash = placed === undefined ? '-' : createHash('sha256').update(placed.script).digest('hex')
    const keys = (placed?.keys ?? '').split('\n').filter((key) => key !== '')
    return succeed(
      `hash=${hash}\n${keys.map((key) => `key=${key}\n`).join('')}system=x86_64-linux\ncores=2\nkvm=no\n`,
    )
  })
  ops.ssh.answer("let machines use the Nix of user 'alice'", ({ stdin, values }) => {
    placed = { script: stdin, keys: values.keys ?? '' }
    return succeed()
  })
  ops.ssh.answer("stop machines from using the Nix of user 'alice'", () => {
    placed = undefined
    return succeed()
  })
  ops.ssh.answer("serve the store of user 'alice'", succeed())
  Object.assign(ops, { tasks: async () => setupTasks })
  await rememberNetwork(ops)
})
afterEach(() => ops.cleanup())

const outcomes = async () =>
  (await deploy(ops, standardRequest)).results.map(({ outcome, reason }) => reason ?? outcome)

describe('a host where somebody without root has Nix in a home', () => {
  it('becomes a builder by a deploy that runs nothing as root, and that delivers nothing else', async () => {
    expect(await outcomes()).toEqual(['changed'])
    expect(placed?.keys).toMatch(/^ssh-ed25519 \S+ hydra-ops:operator$/)
    expect(placed?.script).toContain("'nix-store --serve --write' | 'nix-daemon --stdio') ;;")
    expect(ops.ssh.execs.length).toBeGreaterThan(3)
    expect(ops.ssh.execs.filter(({ asLoginUser }) => !asLoginUser)).toEqual([])
    const { machines } = await ops.store.resolve(undefined)
    expect(Object.values(machines).map(({ tasks }) => Object.keys(tasks))).toEqual([['builder']])
    expect(Object.values(machines)[0]?.tasks.builder?.outputs).toMatchObject({ user: 'alice', in: 'home' })
  })

  it('is unchanged by a second deploy', async () => {
    await outcomes()
    expect(await outcomes()).toEqual(['unchanged'])
  })

  it('is proved and set up anew by the commands of set-up tasks', async () => {
    await outcomes()
    const how = { deployment: undefined, selection: {}, task: 'builder' }
    expect(await verifySetup(ops, how)).toMatchObject([{ outcome: 'unchanged' }])
    expect(await runSetup(ops, { ...how, redo: true })).toMatchObject([{ outcome: 'changed' }])
  })

  it('is left as it was once it is not a builder any more', async () => {
    await outcomes()
    ops.nix.network = network({ builder: { ...builder, enable: false } })
    expect(await outcomes()).toEqual(['changed'])
    expect(placed).toBeUndefined()
    expect(await outcomes()).toEqual(['unchanged'])
  })

  it('refuses options that need root, and is not touched', async () => {
    ops.nix.network = network({ aptPackages: ['jq'] })
    const failed = deploy(ops, standardRequest)
    const told = await failed.then(
      ({ results }) => results.map(({ reason }) => reason ?? '').join(),
      (error: Error) => error.message,
    )
    expect(told).toContain('where hydra-ops has no root access for deployment.aptPackages')
    expect(placed).toBeUndefined()
  })
})
