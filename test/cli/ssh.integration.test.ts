import { spawn } from 'node:child_process'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { MachineRecord } from '../../src/core/deployment.js'
import { MachineName } from '../../src/core/names.js'
import { createStateFolder } from '../../state/paths.js'
import { createStore } from '../../state/store.js'
import { fakeOperator } from '../fakes/fake-ops.js'
import { type Sshd, startSshd } from '../fixtures/sshd.js'
import { ended, type RealCli, realCli } from './real-cli.js'

let cli: RealCli
let sshd: Sshd

/**
 * Creates a deployment whose machines share one sshd on loopback. The machine `silent` does not answer, and the
 * host key of `unseen` is unknown.
 */
beforeAll(async () => {
  cli = realCli()
  sshd = await startSshd({ config: ['Subsystem sftp internal-sftp'] })
  const store = await createStore({
    files: createStateFolder(cli.state, {}),
    operator: fakeOperator,
    env: {},
  })
  const { uuid } = await store.create({
    name: undefined,
    expressions: [cli.network],
    searchPath: [],
    args: {},
  })
  await store.lock(uuid, async (held) => {
    const machines = { web: {}, db: {}, silent: { port: 1 }, unseen: { hostKey: undefined } }
    for (const [at, [name, changes]] of Object.entries(machines).entries())
      await held.putMachine(MachineName.parse(name), recordOf(at + 1, changes))
  })
})
afterAll(async () => {
  await sshd.stop()
  cli.cleanup()
})

function recordOf(index: number, changes: { port?: number; hostKey?: undefined }): MachineRecord {
  return {
    provider: 'ssh',
    os: 'debian',
    index,
    allocation: {},
    handle: {},
    hostKey: 'hostKey' in changes ? undefined : sshd.hostKey,
    target: {
      host: '127.0.0.1',
      port: changes.port ?? sshd.port,
      user: sshd.user,
      sshOptions: ['-i', sshd.identityFile],
      privilegeEscalation: ['sudo', '-H', '--'],
    },
    obsolete: false,
    tasks: {},
    keys: {},
    facts: {},
  }
}

describe('hydra-ops ssh', () => {
  it('runs a shell command and returns its status', async () => {
    const result = await cli.run(['ssh', 'web', '--', 'echo "$0 says $((1 + 1))" | tr a-z A-Z; exit 7'])
    expect(result).toMatchObject({ code: 7, stdout: expect.stringMatching(/SAYS 2\n$/) })
  })

  it('passes on standard input and the flags of ssh', async () => {
    const child = cli.start(['ssh', 'web', '-T', '-o', 'LogLevel=ERROR', 'cat'])
    child.stdin.end('to and fro\n')
    expect(await ended(child)).toMatchObject({ code: 0, stdout: 'to and fro\n', stderr: '' })
  })

  it('exits with 255 only when a connection was tried', async () => {
    expect((await cli.run(['ssh', 'silent', 'true'])).code).toBe(255)
    expect((await cli.run(['ssh', 'slient', 'true'])).code).toBe(2)
    expect((await cli.run(['ssh', 'web', '-z', 'true'])).code).toBe(2)
    expect(await cli.run(['ssh', 'unseen', 'true'])).toMatchObject({
      code: 4,
      stderr: expect.stringContaining("the host key of machine 'unseen' is not known yet"),
    })
  })
})

describe('hydra-ops scp', () => {
  it('copies there and back, also folders and strange names', async () => {
    const here = join(cli.folder, 'a:b c')
    writeFileSync(here, 'content\n')
    const there = join(sshd.folder, 'copy of it')
    expect((await cli.run(['scp', '--to', 'web', here, there])).code).toBe(0)
    expect(readFileSync(there, 'utf8')).toBe('content\n')
    expect((await cli.run(['scp', `db:${there}`, join(cli.folder, 'back')])).code).toBe(0)
    expect(readFileSync(join(cli.folder, 'back'), 'utf8')).toBe('content\n')
    expect((await cli.run(['scp', 'web:/does/not/exist', cli.folder])).code).not.toBe(0)
  })
})

describe('hydra-ops ssh-config', () => {
  it('prints a configuration for the system’s ssh', async () => {
    const { code, stdout, stderr } = await cli.run(['ssh-config'])
    expect(code).toBe(0)
    expect(stderr).toContain("machine 'unseen' is left out")
    const file = join(cli.folder, 'printed')
    writeFileSync(file, stdout)
    const child = spawn('ssh', ['-F', file, '-o', 'BatchMode=yes', 'db', 'echo in'])
    expect(await ended(child)).toMatchObject({ code: 0, stdout: 'in\n' })
    const { file: lasting } = JSON.parse((await cli.run(['ssh-config', '--json'])).stdout)
    expect(readFileSync(lasting, 'utf8')).toBe(stdout)
    expect(statSync(lasting).mode & 0o777).toBe(0o600)
  })
})

describe('hydra-ops ssh-for-each', () => {
  it('runs everywhere at once, names the machine in each line, returns the largest status', async () => {
    const result = await cli.run(['ssh-for-each', '--on', 'web,db', '--', 'echo out; echo err >&2; exit 3'])
    expect(result.code).toBe(3)
    expect(result.stdout.split('\n').sort()).toEqual(['', 'db> out', 'web> out'])
    expect(result.stderr.split('\n').sort()).toEqual(['', 'db> err', 'web> err'])
  })

  it('counts a machine without a connection as 255, and does the others', async () => {
    const { code, stdout, stderr } = await cli.run(['ssh-for-each', '--on', 'web,silent', 'echo here'])
    expect([code, stdout]).toEqual([255, 'web> here\n'])
    expect(stderr).toMatch(/^silent> /m)
  })
})

describe('a look at the machines', () => {
  it('shows by info which machines answer', async () => {
    const { code, stdout } = await cli.run(['info', '--no-eval', '--plain'])
    expect(code).toBe(0)
    const states = stdout.split('\n').map((line) => line.split('\t').slice(0, 3).join(' '))
    expect(states).toEqual(['db Up ssh', 'silent Unreachable ssh', 'unseen Up ssh', 'web Up ssh', ''])
  })

  it('looks inside by check, and adds 4 for a silent machine', async () => {
    const report = await cli.run(['check', '--on', 'web,silent', '--json'])
    const { machines } = JSON.parse(report.stdout)
    expect(machines).toMatchObject([
      { name: 'silent', exists: true, reachable: false },
      { name: 'web', exists: true, up: true, reachable: true, load: expect.stringMatching(/^\d+\.\d+ /) },
    ])
    expect((report.code ?? 0) & 7).toBe(4)
  })
})
