import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { MachineName } from '../../src/core/names.js'
import { deploy } from '../../src/deploy/deploy.js'
import { runFakeDebian } from '../fakes/fake-debian.js'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import { createFakeOps, type FakeOps, rememberNetwork } from '../fakes/fake-ops.js'
import { standardRequest } from '../fakes/standard-request.js'
import { runCli } from './run-cli.js'

let ops: FakeOps
const cli = (...argv: string[]) => runCli(argv, { ops })

beforeEach(async () => {
  ops = await createFakeOps({ network: fakeNetwork([fakeMachine('web'), fakeMachine('db')]) })
  runFakeDebian(ops)
  await rememberNetwork(ops)
})
afterEach(() => ops.cleanup())

const nothingToRetry =
  'there was nothing to deploy: the last deploy failed on none of the selected machines, and began all of them\n'

const history = async () => ops.store.history((await ops.store.resolve('net')).uuid)

describe('a verb that finds no machine', () => {
  it.each([
    [['destroy'], 'there was nothing to destroy'],
    [['destroy', '--yes'], 'there was nothing to destroy'],
    [['start'], 'there was nothing to start'],
    [['stop'], 'there was nothing to stop'],
    [['reboot'], 'there was nothing to reboot'],
    [['send-keys'], 'there was nothing to send keys to'],
    [['setup', 'verify'], 'there was nothing to verify'],
  ])('says so instead of showing an empty table: %j', async (argv, text) => {
    expect(await cli(...argv)).toEqual({ code: 0, stdout: '', stderr: `${text}\n` })
    expect(await history()).toEqual([])
    expect(await cli(...argv, '--json')).toMatchObject({ code: 0, stdout: '[]\n' })
    expect(await cli(...argv, '--plain')).toEqual({ code: 0, stdout: '', stderr: '' })
  })

  it('says so after a deploy, with the reason when it is known', async () => {
    await deploy(ops, standardRequest)
    const retried = await cli('deploy', '--retry-failed')
    expect([retried.code, retried.stdout]).toEqual([0, ''])
    expect(retried.stderr).toContain(nothingToRetry)
    ops.nix.network = fakeNetwork([])
    const empty = await cli('deploy')
    expect([empty.code, empty.stdout]).toEqual([0, ''])
    expect(empty.stderr).toContain('there was nothing to deploy\n')
  })
})

it.each(['--redo', '--prune'])('setup verify refuses %s, which it would ignore', async (flag) => {
  const { code, stderr } = await cli('setup', 'verify', flag)
  expect(code).toBe(2)
  expect(stderr).toContain(`${flag} works only with hydra-ops setup run TASK`)
})

describe('deploy --retry-failed', () => {
  it('mentions its selection when the last deploy failed on an unselected machine', async () => {
    await deploy(ops, standardRequest)
    const { uuid } = await ops.store.resolve('net')
    await ops.store.lock(uuid, async (held) =>
      held.updateMachine(MachineName.parse('db'), (db) => {
        db.lastResult = 'failed'
      }),
    )
    const retried = await cli('deploy', '--retry-failed', '--on', 'web')
    expect([retried.code, retried.stdout]).toEqual([0, ''])
    expect(retried.stderr).toContain(nothingToRetry)
  })
})

describe('destroy of machines without any resource', () => {
  it('reports for each machine that there was nothing, forgets it, and asks only about existing machines', async () => {
    ops.ssh.ensureKeyPair = async (file) => {
      if (file.includes('ssh_host')) throw new Error('as if it ended here')
      return 'ssh-ed25519 AAAA'
    }
    await deploy(ops, standardRequest)
    expect(Object.keys((await ops.store.resolve('net')).machines)).toEqual(['web', 'db'])
    expect(ops.hypervisor.listing().domains).toEqual([])
    const { code, stdout, stderr } = await cli('destroy')
    expect([code, stderr]).toEqual([0, expect.not.stringContaining('?')])
    expect(stdout).toMatch(/\| db +\| unchanged/)
    expect(stdout).toContain('web: unchanged: there was nothing to destroy: the machine was never created')
    expect(stdout).not.toContain('Up-to-date')
    expect((await ops.store.resolve('net')).machines).toEqual({})
  })

  it('still removes the leftovers of a crash that were never recorded', async () => {
    await deploy(ops, standardRequest)
    const { uuid } = await ops.store.resolve('net')
    await ops.store.lock(uuid, async (held) =>
      held.updateMachine(MachineName.parse('web'), (web) => {
        web.handle = undefined
        web.intent = { action: 'create', resource: 'r', since: '2026-01-02T03:04:05.000Z' }
      }),
    )
    const { code, stdout } = await cli('destroy', '--yes', '--include', 'web')
    expect(code).toBe(0)
    expect(stdout).toMatch(/\| web +\| changed/)
    expect(ops.hypervisor.listing().domains).toHaveLength(1)
  })
})
