import { afterEach, describe, expect, it, vi } from 'vitest'
import { deploy } from '../../src/deploy/deploy.js'
import type { DeployRequest } from '../../src/deploy/request.js'
import { rebootMachines, startMachines } from '../../src/operations/power.js'
import { sendKeys } from '../../src/operations/send-keys.js'
import { runFakeDebian } from '../fakes/fake-debian.js'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import { createFakeOps, type FakeOps, rememberNetwork } from '../fakes/fake-ops.js'
import { succeed } from '../fakes/fake-ssh.js'
import { fakeTask } from '../fakes/fake-task.js'
import { recordsOf } from '../fakes/script-values.js'
import { standardRequest } from '../fakes/standard-request.js'

let ops: FakeOps
/** The users and groups of the machine. */
const known = new Set(['root'])

afterEach(() => {
  ops.cleanup()
  known.clear()
  known.add('root')
})

const again = (request: Partial<DeployRequest> = {}) => deploy(ops, { ...standardRequest, ...request })
const written = () => ops.ssh.execs.filter(({ what }) => what === 'deliver keys').length

interface Wanted {
  user?: string
  group?: string
  destDir?: string
  uploadAt?: string
}

/** Deploys a machine, and then the keys with these owners. */
async function upToDate(keys: Record<string, Wanted>) {
  ops = await createFakeOps({ network: fakeNetwork([fakeMachine('web')]) })
  runFakeDebian(ops)
  ops.ssh.answer('compare keys', ({ values }) => {
    const answers = recordsOf(values.keys).map(([, , ...owners]) => {
      const ids = owners.slice(0, 2).map((name) => (known.has(name) ? '7' : ''))
      return `- - - ${ids.join(':')} open none`
    })
    return succeed(`${answers.join('\n')}\n`)
  })
  for (const what of [
    'mount the destination of keys',
    'deliver keys',
    'start the units of keys',
    'give users access to the folders of their keys',
  ])
    ops.ssh.answer(what, succeed())
  await rememberNetwork(ops)
  await again()
  wants('v1', keys)
}

function wants(version: string, keys: Record<string, object>): void {
  const texts = Object.fromEntries(Object.entries(keys).map(([name, key]) => [name, { text: 'x', ...key }]))
  ops.nix.network = fakeNetwork([fakeMachine('web', { version, deployment: { keys: texts } })])
}

describe('a key whose owner the machine does not have', () => {
  it('is named before anything is written when no part of the deploy could make the owner', async () => {
    await upToDate({ token: { user: 'app' }, tls: { group: 'www', destDir: '/etc/tls' }, fine: {} })
    const before = ops.ssh.execs.length
    const { results } = await again()
    expect(results).toMatchObject([
      {
        outcome: 'failed',
        stage: 'inspect',
        reason: `machine 'web': key "token": the machine has no user 'app'; key "tls": the machine has no group 'www'`,
        hint: expect.stringContaining('deployment.keys.token.user'),
      },
    ])
    expect(ops.ssh.execs.slice(before).map(({ what }) => what)).not.toContain('deliver keys')
  })

  it('is also named by a dry run and by send-keys', async () => {
    await upToDate({ token: { user: 'app', group: 'www' } })
    const reason = `machine 'web': key "token": the machine has no user 'app' and no group 'www'`
    expect((await again({ dryRun: true })).plan.machines).toMatchObject([{ unknown: reason }])
    const wish = { deployment: undefined, selection: {}, maxConcurrent: 1 }
    expect(await sendKeys(ops, wish)).toMatchObject([{ outcome: 'failed', reason }])
    expect(written()).toBe(0)
  })

  it.each([
    ['the activation', 'v2', false],
    ['a set-up task', 'v1', true],
  ])('waits for %s, which may make the owner, and is delivered with it', async (_, next, task) => {
    await upToDate({ token: { user: 'app' } })
    const made = () => {
      known.add('app')
      return succeed()
    }
    wants(next, { token: { user: 'app' } })
    const maker = fakeTask('users', {
      apply: async () => {
        made()
        return {}
      },
    })
    if (task) Object.assign(ops, { tasks: async () => [maker] })
    else ops.ssh.answer('remove the unit of the activation', made)
    const { plan, results } = await again()
    expect(plan.machines[0]?.items).toContainEqual({
      subject: 'keys',
      action: 'add',
      detail: 'token',
      note: "no user 'app' yet; this deploy must create it",
    })
    expect(results).toMatchObject([{ outcome: 'changed' }])
    expect(written()).toBeGreaterThan(0)
  })

  it('is named after the activation and the tasks when they made no such owner', async () => {
    await upToDate({ token: { user: 'app' } })
    wants('v2', { token: { user: 'app' } })
    const { results } = await again()
    expect(results).toMatchObject([
      {
        outcome: 'failed',
        stage: 'keys',
        reason: `machine 'web': key "token": the machine has no user 'app'`,
      },
    ])
  })

  it('hinders no partial deploy that brings no key', async () => {
    await upToDate({ token: { user: 'app' } })
    for (const until of ['build', 'create', 'copy'] as const)
      expect((await again({ until })).results).toMatchObject([{ outcome: 'unchanged' }])
  })

  describe('withholds no other key', () => {
    const wish = { deployment: undefined, selection: {}, maxConcurrent: 1 }
    const keys = { token: { user: 'app' }, tls: {}, late: { uploadAt: 'post-activation' } }
    const reason = `machine 'web': key "token": the machine has no user 'app'`
    /** Returns the paths of the keys that were sent since `begin`, each path once. */
    const sentSince = (begin: number) =>
      [
        ...new Set(
          ops.ssh.execs
            .slice(begin)
            .filter(({ what }) => what === 'deliver keys')
            .flatMap(({ values }) => recordsOf(values.files).map(([path]) => path)),
        ),
      ].sort()
    /** Creates a machine with keys, and removes the user of one key. */
    async function hadKeys(): Promise<void> {
      await upToDate(keys)
      known.add('app')
      await again()
      known.delete('app')
    }

    it.each([
      ['send-keys', 1, () => sendKeys(ops, wish)],
      // The reboot ends the first connection.
      ['reboot', 2, () => rebootMachines(ops, wish)],
      [
        'start',
        1,
        () => {
          for (const name of ops.hypervisor.listing().running) ops.hypervisor.stop(name)
          return startMachines(ops, wish)
        },
      ],
    ])('when %s sends them again, over connections: %i', async (_, connections, send) => {
      await hadKeys()
      const begin = ops.ssh.execs.length
      const { connect } = ops.ssh
      const connected = vi.fn(connect)
      Object.assign(ops.ssh, { connect: connected })
      expect(await send()).toMatchObject([{ outcome: 'failed', reason }])
      expect(connected).toHaveBeenCalledTimes(connections)
      expect(sentSince(begin)).toEqual(['/run/keys/late', '/run/keys/tls'])
      // The record of the wanted keys stays, so that a later deploy can remove a dropped key.
      expect((await ops.store.resolve('net')).machines).toMatchObject({
        web: { keys: { token: '/run/keys/token', tls: '/run/keys/tls', late: '/run/keys/late' } },
      })
      expect(await ops.store.history((await ops.store.resolve('net')).uuid)).toContainEqual(
        expect.objectContaining({ event: 'keys.delivered' }),
      )
    })

    it('and keeps no dropped key on the machine, after an activation that made no such owner', async () => {
      await upToDate({ ...keys, old: { destDir: '/etc/old' } })
      known.add('app')
      await again()
      known.delete('app')
      ops.ssh.answer('remove dropped keys', succeed())
      wants('v2', keys)
      expect((await again()).results).toMatchObject([{ outcome: 'failed', stage: 'keys', reason }])
      const removed = ops.ssh.execs.filter(({ what }) => what === 'remove dropped keys')
      expect(removed.map(({ values }) => recordsOf(values.keys))).toMatchObject([
        expect.arrayContaining([['/etc/old/old', expect.any(String)]]),
      ])
      expect((await ops.store.resolve('net')).machines).toMatchObject({
        web: { keys: { token: '/run/keys/token', tls: '/run/keys/tls', late: '/run/keys/late' } },
      })
      expect(JSON.stringify((await ops.store.resolve('net')).machines)).not.toContain('/etc/old')
    })

    it('after an activation that made no such owner', async () => {
      await upToDate(keys)
      wants('v2', keys)
      const begin = ops.ssh.execs.length
      expect((await again()).results).toMatchObject([{ outcome: 'failed', stage: 'keys', reason }])
      expect(sentSince(begin)).toEqual(expect.arrayContaining(['/run/keys/late', '/run/keys/tls']))
    })
  })
})
