import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bindTask } from '../../src/core/setup-task.js'
import { autoUpdateTask } from '../../src/setup/auto-update.js'
import { LocalShellHost } from '../fakes/local-shell-host.js'
import { nixosMachine } from '../fakes/nixos-machine.js'
import { standInSystemctl } from '../fakes/stand-in-systemctl.js'
import { taskMachine, taskRun } from '../fakes/task-run.js'
import { taskContract } from '../setup/task-contract.js'

let root: string
let host: LocalShellHost

const source = { url: 'https://hydra.example.org/', project: 'infra', jobset: 'main' }

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'ho-auto-update-'))
  for (const folder of ['bin', 'etc/hydra-ops', 'etc/systemd/system', 'run', 'var'])
    mkdirSync(join(root, folder), { recursive: true })
  standInSystemctl(root)
  host = new LocalShellHost({
    bin: join(root, 'bin'),
    moved: {
      '/etc/hydra-ops': join(root, 'etc/hydra-ops'),
      '/etc/systemd/system': join(root, 'etc/systemd/system'),
      '/run/hydra-ops': join(root, 'run/hydra-ops'),
      '/var/lib/hydra-ops': join(root, 'var'),
    },
    asRoot: true,
  })
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

function wanted(autoUpdate: Record<string, unknown> = {}, outputs?: Record<string, string>) {
  const machine = taskMachine({ autoUpdate: { enable: true, ...source, ...autoUpdate } })
  return bindTask(autoUpdateTask)({
    ...machine,
    ...(outputs === undefined ? {} : { outputs: { 'auto-update': outputs } }),
  })
}

function task(...how: Parameters<typeof wanted>) {
  const found = wanted(...how)
  if (found === undefined) throw new Error('the task is not wanted')
  return found
}

const run = taskRun()
const timer = 'hydra-ops-auto-update.timer'
const text = (path: string) => readFileSync(join(root, path), 'utf8')

describe('the task of an automatic update', () => {
  taskContract(() => ({
    host,
    task: task(),
    verifiable: false,
    placesFiles: true,
    realPath: (path) => path.replace(root, ''),
    reset: `cd '${root}'; rm -rf etc/hydra-ops/* etc/systemd/system/* run/* active-* enabled-*`,
    damages: {
      'program changed': `echo x >> '/etc/hydra-ops/auto-update/program.pl'`,
      'configuration gone': `rm '/etc/hydra-ops/auto-update/configuration.json'`,
      'timer stopped': `rm '${root}/active-${timer}'`,
      'timer disabled': `rm '${root}/enabled-${timer}'`,
      'service changed': `echo x >> '/etc/systemd/system/hydra-ops-auto-update.service'`,
    },
  }))

  it('names the jobset, and starts the timer at the wanted times', async () => {
    const outputs = await task({ dates: '30 4 * * 1', maxAge: '7d', job: 'hosts.web' }).apply(host, run)
    expect(outputs).toEqual({ timer, source: 'https://hydra.example.org/job/infra/main/hosts.web' })
    expect(text(`etc/systemd/system/${timer}`)).toContain(
      'OnCalendar=Mon *-*-* 4:30:00\nPersistent=true\nRandomizedDelaySec=15min',
    )
    expect(JSON.parse(text('etc/hydra-ops/auto-update/configuration.json'))).toMatchObject({
      url: 'https://hydra.example.org',
      gate: 'release',
      maxAge: 7 * 86_400,
      healthChecks: { cmd: [], http: [], tcp: [], systemd: [] },
    })
  })

  it('refuses a time zone that the machine does not know', async () => {
    await expect(task({ dates: '04:40 Mars/Olympus' }).apply(host, run)).rejects.toMatchObject({
      message: expect.stringContaining('read autoUpdate.dates = "04:40 Mars/Olympus"'),
      hint: expect.stringContaining('install tzdata'),
    })
  })

  it('says at its proof that a person stopped the timer', async () => {
    await task().apply(host, run)
    rmSync(join(root, `active-${timer}`))
    await expect(task().verify(host, run)).rejects.toMatchObject({
      message: `machine 'local': the automatic update is not set up: ${timer} is inactive`,
    })
  })

  it('takes everything away again after the option was dropped, also after a crash at any step', async () => {
    const outputs = await task().apply(host, run)
    const removal = task({ enable: false }, outputs)
    for (let step = 0; step < 5; step += 1) {
      await task().apply(host, run)
      mkdirSync(join(root, 'var/auto-update'), { recursive: true })
      writeFileSync(join(root, 'var/auto-update/result.json'), '{}')
      expect(await removal.probe(host, run)).toEqual({ drifted: 'the machine must no longer update itself' })
      const script = `steps_left=${step}`
      const dying = Object.assign(Object.create(host), {
        script: (given: string, args: readonly string[], options: Parameters<typeof host.script>[2]) =>
          host.script(`${script}\n${given}`, args, options),
      })
      await removal.apply(dying, run).catch(() => {})
      expect(await removal.apply(host, run)).toEqual({ timer: '', source: '' })
      expect(await removal.probe(host, run)).toBe('done')
      expect(readdirSync(join(root, 'etc/systemd/system'))).toEqual([])
      expect(readdirSync(join(root, 'etc/hydra-ops'))).toEqual([])
      expect(readdirSync(join(root, 'var'))).toEqual([])
      expect(readdirSync(root).filter((name) => name.includes('auto-update'))).toEqual([])
    }
  })

  it('is not wanted by a machine that never updated itself, nor by one with NixOS', () => {
    expect(wanted({ enable: false })).toBeUndefined()
    expect(wanted({ enable: false }, { timer: '', source: '' })).toBeUndefined()
    const definition = nixosMachine({ autoUpdate: { enable: true, ...source } })
    expect(bindTask(autoUpdateTask)({ ...taskMachine(), definition })).toBeUndefined()
  })
})
