import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir, uptime } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { ownedService } from '../../src/core/owned-places.js'
import { bindTask, type SetupTask } from '../../src/core/setup-task.js'
import {
  convergeServices,
  lookAtServices,
  publicFile,
  type ServiceSet,
  unsteadyUnits,
} from '../../src/remote/services.js'
import { LocalShellHost } from '../fakes/local-shell-host.js'
import { standInSystemctl } from '../fakes/stand-in-systemctl.js'
import { taskMachine, taskRun } from '../fakes/task-run.js'
import { taskContract } from '../setup/task-contract.js'

let root: string
let host: LocalShellHost
const run = taskRun()

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'ho-services-'))
  for (const folder of ['bin', 'units', 'etc', 'run']) mkdirSync(join(root, folder))
  standInSystemctl(root)
  const moved = {
    '/etc/systemd/system': join(root, 'units'),
    '/etc/app': join(root, 'etc'),
    '/run/hydra-ops': join(root, 'run'),
  }
  host = new LocalShellHost({ bin: join(root, 'bin'), moved, asRoot: true })
})
afterAll(() => rmSync(root, { recursive: true, force: true }))
beforeEach(() => rmSync(join(root, 'calls'), { force: true }))

function set(more: { conf?: string; a?: string; obsolete?: string[] } = {}): ServiceSet {
  return {
    owner: 'app',
    files: [
      publicFile('/etc/app/app.conf', more.conf ?? 'first'),
      publicFile('/etc/systemd/system/a.service', more.a ?? '[Service]\nExecStart=/bin/a\n'),
      publicFile('/etc/systemd/system/b.service', '[Service]\nExecStart=/bin/b\n'),
    ],
    units: [
      { name: 'a.service', reads: ['/etc/systemd/system/a.service', '/etc/app/app.conf'] },
      { name: 'b.service', reads: ['/etc/systemd/system/b.service'] },
    ],
    obsolete: more.obsolete ?? [],
  }
}

function called(verb: string): string[] {
  return readFileSync(join(root, 'calls'), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith(`${verb} `))
    .map((line) => line.slice(verb.length + 1))
}

const restarted = () => called('--no-block restart')

describe('files and the units that depend on them', () => {
  it('are all placed and started at first', async () => {
    expect((await lookAtServices(host, set(), run)).absent).toBe(true)
    await convergeServices(host, set(), run)
    expect(restarted()).toEqual(['a.service b.service'])
    expect(await lookAtServices(host, set(), run)).toMatchObject({ absent: false, wrong: [] })
  })

  it('stay as they are when nothing changed', async () => {
    await convergeServices(host, set(), run)
    rmSync(join(root, 'calls'))
    await convergeServices(host, set(), run)
    expect(restarted()).toEqual([])
  })

  it('are restarted only when a file that they read changed', async () => {
    await convergeServices(host, set(), run)
    rmSync(join(root, 'calls'))
    const changed = set({ conf: 'second' })
    expect((await lookAtServices(host, changed, run)).wrong).toEqual(['/etc/app/app.conf differs'])
    await convergeServices(host, changed, run)
    expect(restarted()).toEqual(['a.service'])
  })

  it('are restarted later when a run was cut off before the restart', async () => {
    await convergeServices(host, set(), run)
    writeFileSync(join(root, 'fail-restart'), '')
    await expect(convergeServices(host, set({ conf: 'third' }), run)).rejects.toThrow(
      'start the services of app',
    )
    rmSync(join(root, 'fail-restart'))
    expect((await lookAtServices(host, set({ conf: 'third' }), run)).wrong).toEqual([
      'a.service was not restarted since its configuration changed',
    ])
    rmSync(join(root, 'calls'))
    await convergeServices(host, set({ conf: 'third' }), run)
    expect(restarted()).toEqual(['a.service'])
    expect((await lookAtServices(host, set({ conf: 'third' }), run)).wrong).toEqual([])
  })

  it('are started when somebody stopped or disabled them', async () => {
    await convergeServices(host, set(), run)
    rmSync(join(root, 'active-b.service'))
    rmSync(join(root, 'enabled-a.service'))
    expect((await lookAtServices(host, set(), run)).wrong).toEqual([
      'a.service is not started at boot',
      'b.service is inactive',
    ])
    rmSync(join(root, 'calls'))
    await convergeServices(host, set(), run)
    expect(restarted()).toEqual([])
    expect((await lookAtServices(host, set(), run)).wrong).toEqual([])
  })

  it('are still told apart when systemd does not know one of them, and ends its list there', async () => {
    await convergeServices(host, set(), run)
    writeFileSync(join(root, 'unknown-a.service'), '')
    rmSync(join(root, 'enabled-b.service'))
    expect((await lookAtServices(host, set(), run)).wrong).toEqual([
      'a.service is not started at boot',
      'b.service is not started at boot',
    ])
    rmSync(join(root, 'unknown-a.service'))
    await convergeServices(host, set(), run)
    expect((await lookAtServices(host, set(), run)).wrong).toEqual([])
  })

  it('are removed when they are no longer wanted', async () => {
    writeFileSync(join(root, 'units/old.service'), '')
    const wanted = set({ obsolete: ['old.service', 'never.service'] })
    expect((await lookAtServices(host, wanted, run)).wrong.join()).toContain(
      'old.service is no longer needed',
    )
    await convergeServices(host, wanted, run)
    expect((await lookAtServices(host, wanted, run)).wrong).toEqual([])
  })

  it('repeat their one-time work on request, unless they are just at it', async () => {
    await convergeServices(host, set(), run)
    rmSync(join(root, 'calls'))
    await convergeServices(host, { ...set(), again: ['a.service'] }, run)
    expect(restarted()).toEqual(['a.service'])
    rmSync(join(root, 'calls'))
    rmSync(join(root, 'active-a.service'))
    await convergeServices(host, { ...set(), again: ['a.service'] }, run)
    expect(restarted()).toEqual([])
  })

  it('are named when they do not become active, with their journal, and no others', async () => {
    await convergeServices(host, set(), run)
    writeFileSync(join(root, 'fails-b.service'), '')
    const failing = convergeServices(host, set({ conf: 'fourth' }), run)
    await expect(failing).rejects.toMatchObject({ detail: 'b.service is inactive:\na line of the journal' })
    rmSync(join(root, 'fails-b.service'))
    await convergeServices(host, set({ conf: 'fourth' }), run)
    expect((await lookAtServices(host, set({ conf: 'fourth' }), run)).wrong).toEqual([])
  })

  it('are named when they start for longer than we wait, and are left to it: nothing begins anew', async () => {
    await convergeServices(host, set(), run)
    rmSync(join(root, 'calls'))
    writeFileSync(join(root, 'hangs-a.service'), '')
    const slow = { ...set({ conf: 'fifth' }), startMs: 1_000 }
    await expect(convergeServices(host, slow, run)).rejects.toMatchObject({
      detail: expect.stringMatching(
        /^the units did not start within 1 s; units that are still starting continue\na\.service is /,
      ),
    })
    expect(restarted()).toEqual(['a.service'])
    rmSync(join(root, 'hangs-a.service'))
    rmSync(join(root, 'calls'))
    await convergeServices(host, set({ conf: 'fifth' }), run)
    expect(restarted()).toEqual([])
    expect((await lookAtServices(host, set({ conf: 'fifth' }), run)).wrong).toEqual([])
  })
})

describe('the changes of a task to files and units', () => {
  const task: SetupTask<ServiceSet> = {
    id: 'app',
    title: 'services of an app',
    after: [],
    stage: 'configure',
    debianPackages: () => [],
    owns: () => [
      ...['a.service', 'b.service'].flatMap(ownedService),
      { path: '/etc/app/app.conf', instead: 'another file beside it' },
    ],
    wanted: () => set(),
    probe: async (host, wanted, run) => {
      const { absent, wrong } = await lookAtServices(host, wanted, run)
      if (absent) return 'needed'
      return wrong.length === 0 ? 'done' : { drifted: wrong.join('; ') }
    },
    apply: async (host, wanted, run) => {
      await convergeServices(host, wanted, run)
      return {}
    },
    verify: async () => {},
  }

  taskContract(() => {
    const bound = bindTask(task)(taskMachine())
    if (bound === undefined) throw new Error('the task is not wanted')
    return {
      host,
      task: bound,
      verifiable: false,
      placesFiles: true,
      reset: `rm -rf ${root}/units/* ${root}/etc/* ${root}/run/* ${root}/active-* ${root}/enabled-*`,
      damages: {
        'a file changed': `cd ${root}/etc; echo x >> app.conf`,
        'a file gone': `rm ${root}/units/a.service`,
        'a file of other rights': `cd ${root}/etc; chmod 0600 app.conf`,
        'a unit stopped': `rm ${root}/active-a.service`,
        'a unit disabled': `rm ${root}/enabled-b.service`,
      },
    }
  })
})

describe('the list of services that do not stay up', () => {
  const micro = 1_000_000
  // A time in the future makes the change recent, however slow the test is.
  const now = Math.floor(uptime() + 3_600) * micro
  const unit = (more: Record<string, string>) =>
    Object.entries({
      Id: 'a.service',
      ActiveState: 'active',
      SubState: 'running',
      NRestarts: '0',
      ActiveEnterTimestampMonotonic: `${now}`,
      ...more,
    })
      .map(([name, value]) => `${name}=${value}\n`)
      .join('')

  it.each<[string, Record<string, string>, string[]]>([
    ['running', {}, []],
    [
      'down between two attempts',
      { ActiveState: 'activating', SubState: 'auto-restart', NRestarts: '7' },
      ['a.service is activating (auto-restart)'],
    ],
    ['up for a moment, again', { NRestarts: '7' }, ['a.service was restarted 7 times so far']],
    [
      'up again for a while',
      { NRestarts: '7', ActiveEnterTimestampMonotonic: `${Math.floor(uptime() - 60) * micro}` },
      [],
    ],
  ])('is right about a service: %s', async (_, more, told) => {
    const steady = unit({ Id: 'b.service' })
    // A timer has no NRestarts.
    const timer = 'Id=c.timer\nActiveState=active\nSubState=waiting\n'
    writeFileSync(join(root, 'shown'), `${unit(more)}\n${timer}\n${steady}`)
    expect(await unsteadyUnits(host, ['a.service', 'c.timer', 'b.service'], run)).toEqual(told)
  })
})
