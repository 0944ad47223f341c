import { afterEach, describe, expect, it } from 'vitest'
import type { SetupTask } from '../../src/core/setup-task.js'
import { deploy } from '../../src/deploy/deploy.js'
import { runFakeDebian } from '../fakes/fake-debian.js'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import { createFakeOps, type FakeOps, rememberNetwork } from '../fakes/fake-ops.js'
import { succeed } from '../fakes/fake-ssh.js'
import { fakeTask } from '../fakes/fake-task.js'
import { standardRequest } from '../fakes/standard-request.js'

let ops: FakeOps
afterEach(() => ops.cleanup())

type Stage = 'bootstrap' | 'configure'

/** Returns the activation program's message that it restored the file of a task. */
const putBack = (id: string) => `file /etc/${id}.conf put back as it was before`

/**
 * Creates a machine with tasks. Its next activations undo the tasks in `undoes`, and print `says` or the undone tasks.
 */
async function machineWithTasks(
  stages: Readonly<Record<string, Stage>>,
  more: Partial<SetupTask<object>> = {},
) {
  ops = await createFakeOps({ network: fakeNetwork([fakeMachine('web')]) })
  const seen = {
    undoes: [] as string[],
    says: undefined as readonly string[] | undefined,
    code: 0,
    done: new Set<string>(),
    calls: [] as string[],
  }
  const says: string[] = []
  runFakeDebian(ops, {
    says,
    activationCode: () => {
      seen.calls.push('activation')
      for (const id of seen.undoes) seen.done.delete(id)
      says.splice(0, says.length, ...(seen.says ?? seen.undoes.map(putBack)))
      return seen.code
    },
  })
  const installed = ['nix-bin', 'lines-server'].map((name) => `ii |${name}|2.8.0|\n`).join('')
  ops.ssh.answer('read which packages are installed', succeed(installed))
  const tasks = Object.entries(stages).map(([id, stage]) =>
    fakeTask(id, {
      stage,
      owns: () => [{ path: `/etc/${id}.conf`, instead: 'something else' }],
      probe: async () => {
        seen.calls.push(`probe ${id}`)
        return seen.done.has(id) ? 'done' : { drifted: `the file of ${id} differs` }
      },
      apply: async () => {
        seen.calls.push(`apply ${id}`)
        seen.done.add(id)
        return {}
      },
      ...more,
    }),
  )
  Object.assign(ops, { tasks: async () => tasks })
  await rememberNetwork(ops)
  await deploy(ops, standardRequest)
  seen.calls.length = 0
  return seen
}

const again = { ...standardRequest, alwaysActivate: true }

describe('a task whose file an activation restores to its former text', () => {
  it.each(['bootstrap', 'configure'] as const)(
    'runs again in the same deploy, as a task of %s',
    async (stage) => {
      const seen = await machineWithTasks({ lines: stage })
      seen.undoes = ['lines']
      expect((await deploy(ops, again)).results).toMatchObject([{ outcome: 'changed' }])
      expect(seen.calls.filter((call) => !call.startsWith('probe'))).toEqual(['activation', 'apply lines'])
      expect(seen.done).toEqual(new Set(['lines']))
    },
  )

  it('runs again when another task was to run anyway', async () => {
    const seen = await machineWithTasks({ nix: 'bootstrap', lines: 'configure', other: 'configure' })
    seen.undoes = ['nix', 'lines']
    seen.done.delete('other')
    await deploy(ops, again)
    const applied = seen.calls.filter((call) => call.startsWith('apply'))
    expect(applied[0]).toBe('apply nix')
    expect(applied.slice(1).sort()).toEqual(['apply lines', 'apply other'])
  })

  it('runs again after a deploy that ended at the activation', async () => {
    const seen = await machineWithTasks({ lines: 'configure' })
    Object.assign(seen, { undoes: ['lines'], code: 1 })
    expect((await deploy(ops, again)).results).toMatchObject([{ outcome: 'failed', stage: 'activate' }])
    Object.assign(seen, { undoes: [], code: 0 })
    expect((await deploy(ops, again)).results).toMatchObject([{ outcome: 'changed' }])
    expect(seen.calls).toContain('apply lines')
  })

  it('runs again when the file was undone long before the activation ended', async () => {
    const seen = await machineWithTasks({ lines: 'configure' })
    seen.undoes = ['lines']
    seen.says = [putBack('lines'), ...Array.from({ length: 50 }, (_, n) => `file /etc/${n} written`)]
    await deploy(ops, again)
    expect(seen.calls).toContain('apply lines')
  })

  it('runs again when the words of the activation are no longer known', async () => {
    const seen = await machineWithTasks({ lines: 'configure' })
    seen.undoes = ['lines']
    ops.ssh.answer('follow the activation', succeed('state LoadState=not-found\nboot boot-1\n'))
    expect((await deploy(ops, again)).results).toMatchObject([{ outcome: 'changed' }])
    expect(seen.calls).toContain('apply lines')
  })

  it.each([
    ['unit lines.service removed', '/etc/systemd/system/lines.service'],
    ['unit lines-1.service put back as it was before', '/etc/systemd/system/lines-*.service'],
    ['file /etc/lines/a b/c removed', '/etc/lines/**'],
    ['file /var/run/lines.conf removed', '/run/lines.conf'],
    ['program lines removed', '/usr/local/bin/lines'],
    ['package lines-server removed', '/etc/lines.conf'],
  ])('runs again after the line: %s', async (said, path) => {
    const seen = await machineWithTasks(
      { lines: 'configure' },
      { owns: () => [{ path, instead: 'x' }], debianPackages: () => ['lines | lines-server'] },
    )
    seen.undoes = ['lines']
    seen.says = [said]
    await deploy(ops, again)
    expect(seen.calls).toContain('apply lines')
  })

  it.each([
    'file /etc/other.conf put back as it was before',
    'file /etc/lines.conf.d/x removed',
    'unit lines.conf removed',
    'file /etc/lines.conf written',
    'package lines removed',
  ])('is not inspected again after the line: %s', async (said) => {
    const seen = await machineWithTasks({ nix: 'bootstrap', lines: 'configure' })
    seen.says = [said]
    await deploy(ops, again)
    expect(seen.calls).toEqual(['probe nix', 'probe lines', 'activation'])
  })

  it('is left alone when its file stays', async () => {
    const seen = await machineWithTasks({ nix: 'bootstrap', lines: 'configure' })
    await deploy(ops, again)
    expect(seen.calls.filter((call) => call.startsWith('apply'))).toEqual([])
  })

  it('is not inspected twice when nothing was activated', async () => {
    const seen = await machineWithTasks({ lines: 'configure' })
    await deploy(ops, standardRequest)
    expect(seen.calls).toEqual(['probe lines'])
  })
})
