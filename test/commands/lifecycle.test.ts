import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { usageError } from '../../src/core/errors.js'
import { runFakeDebian } from '../fakes/fake-debian.js'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import { createFakeOps, type FakeOps } from '../fakes/fake-ops.js'
import { exit, succeed } from '../fakes/fake-ssh.js'
import { type CliRun, runCli } from './run-cli.js'

/** The whole life of a deployment on made-up machines, one verb after the other. */
describe('the life of a deployment', () => {
  let ops: FakeOps
  let folder: string
  let uuid: string

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'hydra-ops-life-'))
    writeFileSync(join(folder, 'net.nix'), '{ }')
    const web = fakeMachine('web', { fake: { forwardPorts: [18080] } })
    ops = await createFakeOps({
      network: fakeNetwork([web, fakeMachine('db')], { description: 'Two machines' }),
    })
    runFakeDebian(ops)
    ops.ssh.answer('look at disks and units', succeed('load 0 0 0\ndisk 1 /\nunits\n'))
  })
  afterAll(() => {
    ops.cleanup()
    rmSync(folder, { recursive: true, force: true })
  })

  const cli = (...argv: string[]) => runCli(argv, { ops })
  const table = (run: CliRun) => run.stdout.split('\n').filter((line) => line.startsWith('|'))

  it('begins with create, which prints the UUID and nothing else', async () => {
    const { code, stdout, stderr } = await cli('create', join(folder, 'net.nix'), '-d', 'lab')
    uuid = stdout.trim()
    expect([code, stdout, stderr]).toEqual([
      0,
      `${(await ops.store.resolve('lab')).uuid}\n`,
      "created deployment 'lab'\n",
    ])
  })

  it('refuses a second create of the name, and accepts it with --or-modify', async () => {
    const { code, stderr } = await cli('create', join(folder, 'net.nix'), '-d', 'lab')
    expect(code).toBe(2)
    expect(stderr).toContain(`deployment 'lab' already exists (${uuid})`)
    const again = await cli('create', join(folder, 'net.nix'), '-d', 'lab', '--or-modify', '--json')
    expect(JSON.parse(again.stdout)).toEqual({ uuid, name: 'lab', created: false })
  })

  it('shows the deployment by list', async () => {
    expect((await cli('list', '--plain')).stdout).toBe(`${uuid}\tlab\t\t0\t\n`)
    expect(JSON.parse((await cli('list', '--json')).stdout)).toMatchObject({ deployments: [{ name: 'lab' }] })
  })

  it('shows the missing machines by info', async () => {
    const { code, stdout } = await cli('info')
    expect(code).toBe(0)
    expect(stdout).toContain('Network description: Two machines\n')
    expect(stdout).toMatch(/\| web +\| Missing \/ New \| fake/)
  })

  it('prints a plan on standard output, and plan does nothing', async () => {
    const { code, stdout } = await cli('plan')
    expect(code).toBe(0)
    expect(stdout).toMatch(/^web {3}fake +create/m)
    expect(stdout).toMatch(/^db {4}fake +create/m)
    expect(ops.hypervisor.listing().domains).toEqual([])
    const { machines } = JSON.parse((await cli('plan', '--json')).stdout)
    expect(machines).toHaveLength(2)
    expect((await cli('deploy', '--dry-run')).stdout).toBe(stdout)
  })

  it('makes the machines by deploy: plan and progress on standard error, results on standard output', async () => {
    const run = await cli('deploy')
    expect(run.code).toBe(0)
    expect(run.stderr).toMatch(/^web {3}fake +create/m)
    expect(run.stderr).toMatch(/^web> activate/m)
    expect(table(run)).toEqual([
      expect.stringMatching(/\| Name \|/),
      expect.stringMatching(/^\| db +\| changed +\| +\d+\.\d s \|$/),
      expect.stringMatching(/^\| web +\| changed +\| +\d+\.\d s \|$/),
    ])
  })

  it('reports Up-to-date at a second deploy', async () => {
    const { code, stdout } = await cli('deploy')
    expect(code).toBe(0)
    expect(stdout).toContain('Up-to-date: nothing was changed')
  })

  it('shows by info that the machines are up and current, with their published ports', async () => {
    const { stdout } = await cli('info', '-d', uuid.slice(0, 6))
    expect(stdout).toMatch(/\| web +\| Up \/ Up-to-date \| fake/)
    expect(stdout).toContain('Published:\n  web  http://127.0.0.1:18080/\n')
    const plain = (await cli('info', '--plain', '--no-eval', '--no-probe')).stdout.split('\n')
    expect(plain[1]).toMatch(/^web\tUp\tfake\thydra-ops-/)
  })

  it('shows by info of a broken expression the known facts, then the error', async () => {
    const { evaluate } = ops.nix
    ops.nix.evaluate = async () => {
      throw usageError("net.nix:1:3: syntax error, unexpected ';'")
    }
    const { code, stdout, stderr } = await cli('info')
    Object.assign(ops.nix, { evaluate })
    expect(code).toBe(2)
    expect(stdout).toMatch(/\| web +\| +Up +\| fake/)
    expect(stderr).toBe("error: net.nix:1:3: syntax error, unexpected ';'\n")
  })

  it('has no fault in check', async () => {
    const { code, stdout } = await cli('check')
    expect(code).toBe(0)
    expect(stdout).toMatch(/\| web +\| Yes/)
  })

  it('returns the largest status from ssh-for-each', async () => {
    ops.ssh.answer('run the command', ({ machine }) => (machine === 'web' ? exit(3) : exit(1)))
    expect((await cli('ssh-for-each', 'false')).code).toBe(3)
    const { code, stdout } = await cli('ssh-for-each', '--json', '--on', 'db', '--', 'false')
    expect([code, JSON.parse(stdout)]).toEqual([1, [{ machine: 'db', status: 1, stdout: '', stderr: '' }]])
    expect((await cli('ssh-for-each', '--on', 'dbb', 'x')).code).toBe(2)
  })

  it('exits with 2 from ssh to a wrong name', async () => {
    const { code, stderr } = await cli('ssh', 'wbe', '--', 'x')
    expect([code, stderr]).toEqual([2, expect.stringContaining("did you mean 'web'?")])
  })

  it('exits with 3 from plan and deploy --dry-run when a machine cannot be planned', async () => {
    ops.ssh.hostKeys.set('db', 'another key')
    const runs = [await cli('plan'), await cli('deploy', '--dry-run'), await cli('plan', '--json')]
    ops.ssh.hostKeys.clear()
    expect(runs.map(({ code }) => code)).toEqual([3, 3, 3])
    expect(runs[0]?.stdout).toMatch(/^db +machine +unknown +machine 'db': its host key changed/m)
    expect((await cli('plan')).code).toBe(0)
  })

  it('includes stop and start', async () => {
    expect((await cli('stop', '--include', 'web')).code).toBe(0)
    expect(ops.hypervisor.listing().running).toHaveLength(1)
    expect((await cli('check')).code).toBe(0)
    expect((await cli('start', '--include', 'web', '--json')).code).toBe(0)
    expect(ops.hypervisor.listing().running).toHaveLength(2)
  })

  it('exits with 3 when a machine fails, with the reason', async () => {
    ops.nix.brokenCopies.add('db')
    ops.nix.network = fakeNetwork([
      fakeMachine('web', { version: 'v2' }),
      fakeMachine('db', { version: 'v2' }),
    ])
    const run = await cli('deploy')
    ops.nix.brokenCopies.clear()
    expect(run.code).toBe(3)
    expect(run.stdout).toMatch(/\| db +\| failed at copy/)
    expect(run.stdout).toMatch(/^db: failed at copy: /m)
    expect((await cli('deploy', '--retry-failed')).code).toBe(0)
  })

  it('remembers the changes of set-args and modify', async () => {
    expect((await cli('set-args', '--argstr', 'motd', 'hi')).stderr).toBe('arguments now: motd\n')
    expect((await cli('modify', '-n', 'lab2')).code).toBe(0)
    expect((await ops.store.resolve('lab2')).args).toEqual({ motd: '"hi"' })
  })

  it('is recorded in history', async () => {
    const events = JSON.parse((await cli('history', '--json')).stdout).map(
      (entry: { event: string }) => entry.event,
    )
    expect(events).toEqual(expect.arrayContaining(['create', 'deploy.begin', 'deploy.end', 'modify']))
    expect((await cli('history', '--plain', '-n', '1')).stdout).toMatch(/\ttester@testhost\t\tmodify\tdone\t/)
  })

  it('keeps preferences by config', async () => {
    expect((await cli('config', 'set', 'deployment', 'lab2')).code).toBe(0)
    expect((await cli('config', 'get', 'deployment')).stdout).toBe('lab2\n')
    expect((await cli('config', 'set', 'deployment', 'labb2')).code).toBe(2)
    expect((await cli('config', 'unset', 'deployment')).code).toBe(0)
    expect((await cli('config', 'list')).stdout).toContain('deployment = (not set)\n')
  })

  it('does not end by delete while machines remain', async () => {
    const { code, stderr } = await cli('delete', '--yes')
    expect([code, stderr]).toEqual([2, expect.stringContaining("'lab2' still has machines: ")])
  })

  it('refuses destroy without a terminal, and with --yes leaves nothing', async () => {
    const refused = await cli('destroy')
    expect(refused.code).not.toBe(0)
    expect(ops.hypervisor.listing().domains).toHaveLength(2)
    const { code, stdout } = await cli('destroy', '--yes')
    expect(code).toBe(0)
    expect(stdout).toMatch(/\| web +\| changed/)
    expect(ops.hypervisor.listing()).toMatchObject({ domains: [], disks: [] })
  })

  it('ends with delete', async () => {
    const { code, stderr } = await cli('delete', '--yes')
    expect([code, stderr]).toEqual([0, "deleted deployment 'lab2'\n"])
    expect((await cli('list', '--plain')).stdout).toBe('')
  })
})

describe('hydra-ops doctor', () => {
  it('exits with 1 when something is wrong', async () => {
    const problem = { id: 'x', level: 'problem' as const, what: 'x is missing', mend: 'apt-get install x' }
    const ops = await createFakeOps({ parts: { doctor: async () => [problem] } })
    const { code, stdout } = await runCli(['doctor'], { ops })
    expect([code, stdout]).toEqual([1, 'problem  x: x is missing\n         repair: apt-get install x\n'])
    Object.assign(ops, { doctor: async () => [{ ...problem, level: 'note' }] })
    expect((await runCli(['doctor', '--json'], { ops })).code).toBe(0)
    ops.cleanup()
  })
})
