import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bindTask, type WantedTask } from '../../src/core/setup-task.js'
import type { Host } from '../../src/core/ssh.js'
import { nixServeTask, nixServeUnit } from '../../src/setup/nix-serve.js'
import { LocalShellHost } from '../fakes/local-shell-host.js'
import { standInSystemctl } from '../fakes/stand-in-systemctl.js'
import { taskMachine, taskRun } from '../fakes/task-run.js'
import { freePort } from '../fixtures/free-port.js'
import { StandIns } from '../hydra/stand-in-packages.js'

/** The stand-ins for the proof of the nix-serve task, with a separate store. */
const standIns = new StandIns()
const secret = join(standIns.nix.folder, 'secret')
let root: string
let env: Record<string, string>
let host: LocalShellHost

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'ho-nix-serve-'))
  mkdirSync(join(root, 'bin'))
  standInSystemctl(root)
  writeFileSync(join(root, 'bin', 'journalctl'), '#!/bin/sh\nprintf "%s\\n" "$@"\n', { mode: 0o755 })
  writeFileSync(join(root, 'active-nix-serve.service'), '')
  writeFileSync(join(root, 'shown'), 'Id=nix-serve.service\nActiveState=active\nNRestarts=0\n')
  await standIns.build('nix-serve')
  await standIns.nix.nix('nix-store', ['--generate-binary-cache-key', 'ci-1', secret, `${secret}.pub`])
  env = await standIns.env({ NIX_SECRET_KEY_FILE: secret })
  const variables = Object.entries({ ...env, PATH: `${join(root, 'bin')}:${env.PATH}` })
  host = new LocalShellHost({ prefix: ['env', ...variables.map(([name, value]) => `${name}=${value}`)] })
})
afterAll(async () => {
  await standIns.dispose()
  rmSync(root, { recursive: true, force: true })
})

/** Returns the same machine with an unreadable journal. */
function withoutJournal(): Host {
  const exec: Host['exec'] = async (argv, options) =>
    argv[0] === 'journalctl' ? { kind: 'exited', code: 1, stdout: '', stderr: '' } : host.exec(argv, options)
  return Object.assign(Object.create(host), { exec })
}

/** Returns the value of a variable in the unit of nix-serve. */
function unitVariable(name: string): string | undefined {
  const unit = nixServeUnit({ package: '/x', address: '127.0.0.1', port: 5000, secretKeyFile: secret })
  return new RegExp(`^Environment=.*\\b${name}=([^"\\n]*)`, 'm').exec(unit)?.[1]
}

async function started(more: Record<string, string>): Promise<WantedTask> {
  const port = await freePort()
  await standIns.start(
    'nix-serve',
    ['nix-serve', '--listen', `127.0.0.1:${port}`],
    { ...env, ...more },
    async (daemon) => daemon.log.includes('Binding to TCP port'),
  )
  const nixServe = { enable: true, port, package: standIns.path('nix-serve') }
  const cache = { secretKeyFile: secret, publicKeyFile: `${secret}.pub` }
  const task = bindTask(nixServeTask)(taskMachine({ hydra: { enable: true, nixServe, cache } }))
  if (task === undefined) throw new Error('the nix-serve task is not wanted')
  return task
}

/** Returns the first state in which the proof waits. */
async function firstComplaint(task: WantedTask): Promise<string> {
  const stop = new AbortController()
  let seen = ''
  const log = (line: string) => {
    seen ||= line
    stop.abort()
  }
  const failed = await task.verify(host, { ...taskRun(), signal: stop.signal, log }).then(
    () => '',
    (error: unknown) => String(error),
  )
  return seen === '' ? failed : seen
}

describe('the proof of nix-serve', () => {
  it('holds when the unit allows `nix dump-path`', async () => {
    const config = unitVariable('NIX_CONFIG')
    const task = await started(config === undefined ? {} : { NIX_CONFIG: config })
    expect(await firstComplaint(task)).toBe('')
  })

  it('does not hold when `nix dump-path` fails: the answer has a status of 200 and no body', async () => {
    const task = await started({ NIX_CONFIG: 'experimental-features =' })
    expect(await firstComplaint(task)).toMatch(/the answer ended after 0 of \d+ bytes$/)
  })

  it('ends early when the NAR stays empty, with lines of the journal since it began', async () => {
    const task = await started({ NIX_CONFIG: 'experimental-features =' })
    const begin = Math.floor(Date.now() / 1_000)
    const failed: unknown = await task.verify(host, taskRun()).catch((error: unknown) => error)
    expect(failed).toMatchObject({
      code: 'LASTING_CAUSE',
      message: expect.stringMatching(
        /nar\/\S+: the answer ended after 0 of \d+ bytes; `nix dump-path` fails on the machine; the journal below shows the cause$/,
      ),
    })
    const since = Number(/^--since=@(\d+)$/m.exec(String(Object(failed).detail))?.[1])
    expect(since).toBeGreaterThanOrEqual(begin)
    expect(since).toBeLessThanOrEqual(Date.now() / 1_000)
  })

  it('reports an unreadable journal when the evidence is missing', async () => {
    const task = await started({ NIX_CONFIG: 'experimental-features =' })
    await expect(task.verify(withoutJournal(), taskRun())).rejects.toMatchObject({
      code: 'LASTING_CAUSE',
      detail:
        "the journal cannot be read: machine 'local': cannot read the journal: the command ended with status 1",
    })
  })

  it('does not hold when the key of another machine signs', async () => {
    const other = join(standIns.nix.folder, 'other')
    await standIns.nix.nix('nix-store', ['--generate-binary-cache-key', 'ci-1', other, `${other}.pub`])
    const task = await started({
      NIX_CONFIG: 'extra-experimental-features = nix-command',
      NIX_SECRET_KEY_FILE: other,
    })
    expect(await firstComplaint(task)).toContain('is not signed by the key of this machine')
  })

  it('does not hold when a NAR of the right length has another content', async () => {
    const bin = join(root, 'wrong-nix')
    mkdirSync(bin)
    writeFileSync(join(bin, 'nix'), '#!/bin/sh\n/usr/bin/nix "$@" | tr h H\n', { mode: 0o755 })
    const task = await started({
      NIX_CONFIG: 'extra-experimental-features = nix-command',
      PATH: `${bin}:${env.PATH}`,
    })
    expect(await firstComplaint(task)).toMatch(/its NAR has the hash sha256:\w{52} instead of sha256:\w{52}/)
  })
})
