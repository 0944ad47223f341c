import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { convergeServices, lookAtServices, publicFile, type ServiceSet } from '../../src/setup/services.js'
import { LocalShellHost } from '../fakes/local-shell-host.js'
import { standInSystemctl } from '../fakes/stand-in-systemctl.js'
import { taskRun } from '../fakes/task-run.js'

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

function restarted(): string[] {
  return readFileSync(join(root, 'calls'), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('restart '))
    .map((line) => line.slice('restart '.length))
}

describe('files and the units that live by them', () => {
  it('are all there and started at first', async () => {
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

  it('are restarted only where what they read changed', async () => {
    await convergeServices(host, set(), run)
    rmSync(join(root, 'calls'))
    const changed = set({ conf: 'second' })
    expect((await lookAtServices(host, changed, run)).wrong).toEqual(['/etc/app/app.conf differs'])
    await convergeServices(host, changed, run)
    expect(restarted()).toEqual(['a.service'])
  })

  it('are restarted later when we were cut off before it', async () => {
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
    expect(restarted()).toEqual(['b.service'])
    expect((await lookAtServices(host, set(), run)).wrong).toEqual([])
  })

  it('go when they are not wanted any more', async () => {
    writeFileSync(join(root, 'units/old.service'), '')
    const wanted = set({ obsolete: ['old.service', 'never.service'] })
    expect((await lookAtServices(host, wanted, run)).wrong.join()).toContain(
      'old.service is not wanted any more',
    )
    await convergeServices(host, wanted, run)
    expect((await lookAtServices(host, wanted, run)).wrong).toEqual([])
  })
})
