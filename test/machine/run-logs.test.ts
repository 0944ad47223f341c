import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { MachineName } from '../../src/core/names.js'
import { createRunLogs, runId } from '../../src/machine/run-logs.js'
import { commandLine } from '../../src/operations/command-line.js'
import { loggedRuns, readLogs } from '../../src/operations/read-logs.js'
import { createFakeOps, type FakeOps } from '../fakes/fake-ops.js'

const web = MachineName.parse('web')
const db = MachineName.parse('db')
const now = () => new Date('2026-11-21T10:15:00.123Z')

let scratch: string
let folder: string
let problems: string[]

beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), 'hydra-ops-logs-'))
  folder = scratch
  problems = []
})
afterEach(() => rmSync(scratch, { recursive: true, force: true }))

const open = (run = 'r1', at = folder) =>
  createRunLogs({ folder: at, run, now, onProblem: (text) => problems.push(text) })

describe('logs of a run', () => {
  it('are one file per machine, readable by their owner only, each line with its time', () => {
    const logs = open()
    logs.append(web, 'first')
    logs.append(web, 'second\nthird')
    logs.append(undefined, 'all')
    const file = join(folder, 'r1', 'web.log')
    const at = '2026-11-21T10:15:00.123Z'
    expect(readFileSync(file, 'utf8')).toBe(`${at} first\n${at} second\n${at} third\n`)
    expect(readFileSync(join(folder, 'r1', '_run.log'), 'utf8')).toBe(`${at} all\n`)
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(statSync(join(folder, 'r1')).mode & 0o777).toBe(0o700)
  })

  it('make no folder before something is logged', () => {
    open()
    expect(() => statSync(join(folder, 'r1'))).toThrow('ENOENT')
  })

  it('keep the last lines at hand, however many there were', () => {
    const logs = open()
    for (let n = 1; n <= 1000; n += 1) logs.append(web, `line ${n}`)
    expect(logs.tail(web, 2)).toEqual(['line 999', 'line 1000'])
    expect(logs.tail(db, 2)).toEqual([])
  })

  it('report a failed write once, and stop nothing', () => {
    // A file in place of the folder prevents every user's write, even root's.
    writeFileSync(join(folder, 'taken'), '')
    const logs = open('r1', join(folder, 'taken'))
    logs.append(web, 'one')
    logs.append(web, 'two')
    expect(problems).toHaveLength(1)
    expect(problems[0]).toContain('the command continues without logs')
    expect(logs.tail(web, 5)).toEqual(['one', 'two'])
  })
})

it('run ids follow each other as time does', () => {
  expect(runId(now(), 'a1b2c3')).toBe('20261121-101500-a1b2c3')
})

describe('hydra-ops logs', () => {
  let ops: FakeOps
  beforeEach(async () => {
    ops = await createFakeOps()
    const { uuid } = await ops.store.create({
      name: undefined,
      expressions: ['/net.nix'],
      searchPath: [],
      args: {},
    })
    folder = ops.files.paths(uuid).logs
    for (const [run, machine] of [
      ['20260101-000000-aaaaaa', web],
      ['20260102-000000-bbbbbb', web],
      ['20260102-000000-bbbbbb', db],
      ['20260103-000000-cccccc', db],
    ] as const) {
      open(run).append(machine, `${run} ${machine}`)
    }
  })
  afterEach(() => ops.cleanup())

  const read = (rest: { machine?: string; run?: string }) =>
    readLogs(ops, { deployment: undefined, machine: undefined, run: undefined, ...rest })

  it('shows the last run', async () => {
    expect((await read({})).run).toBe('20260103-000000-cccccc')
    expect(await loggedRuns(ops, undefined)).toHaveLength(3)
  })

  it('shows the last run in which a machine took part', async () => {
    const { run, machines } = await read({ machine: 'web' })
    expect(run).toBe('20260102-000000-bbbbbb')
    expect(machines).toEqual([{ machine: 'web', text: expect.stringContaining('bbbbbb web') }])
  })

  it('takes the beginning of a run, when it is unambiguous', async () => {
    expect((await read({ run: '20260101' })).run).toBe('20260101-000000-aaaaaa')
    await expect(read({ run: '2026010' })).rejects.toThrow('several runs begin with')
    await expect(read({ run: 'zzz' })).rejects.toThrow("there is no run 'zzz'")
  })

  it.each(['wbe', '../db', 'nobody'])('refuses a machine that was never logged: %s', async (machine) => {
    await expect(read({ machine })).rejects.toThrow(`no log of a machine '${machine}'`)
  })

  it('names the machines of a run in its hint, and not the file of the whole run', async () => {
    const logs = open('20260104-000000-dddddd')
    logs.append(undefined, 'building')
    await expect(read({ machine: 'nobody' })).rejects.toThrow(
      expect.objectContaining({ hint: 'the run has logs of: no machine' }),
    )
    logs.append(db, 'copying')
    await expect(read({ machine: 'nobody' })).rejects.toThrow(
      expect.objectContaining({ hint: 'the run has logs of: db' }),
    )
    await expect(read({ machine: '_run' })).rejects.toThrow("no log of a machine '_run'")
    expect((await read({})).machines.map(({ machine }) => machine)).toEqual([undefined, 'db'])
  })

  it('refuses a run that leads out of the folder', async () => {
    await expect(read({ run: '..' })).rejects.toThrow("there is no run '..'")
  })

  it('reports when nothing has been logged', async () => {
    rmSync(folder, { recursive: true })
    await expect(read({})).rejects.toThrow('this deployment has no logs yet')
  })
})

describe('the command in the journal', () => {
  it('is the typed command, ready to be pasted', () => {
    expect(commandLine(['deploy', '--on', 'web*,!web3'])).toBe("hydra-ops deploy --on 'web*,!web3'")
  })

  it('leaves out the values of arguments and of Nix’ options', () => {
    expect(commandLine(['deploy', '--option', 'access-tokens', 'github.com=ghp_x', '-y'])).toBe(
      'hydra-ops deploy --option access-tokens … -y',
    )
    expect(commandLine(['set-args', '--argstr', 'token', 'hunter2', '--arg', 'n', '1'])).toBe(
      "hydra-ops set-args --argstr token '…' --arg n '…'".replaceAll("'…'", '…'),
    )
  })
})
