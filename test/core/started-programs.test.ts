import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { pidNamespace, processStat } from '../../src/core/process-facts.js'
import { programsOf, type Starter, startedByUs, stillRuns } from '../../src/core/started-programs.js'

const us: Starter = {
  pid: process.pid,
  startTime: processStat(process.pid)?.startTime ?? '',
  pidNamespace: pidNamespace(),
}

interface MadeUp {
  readonly argv: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  readonly session?: number
  readonly state?: string
  readonly startTime?: number
}

/** Creates a folder that looks like /proc, with these processes. */
function procWith(processes: Readonly<Record<number, MadeUp>>): string {
  const proc = mkdtempSync(join(tmpdir(), 'hydra-ops-proc-'))
  onTestFinished(() => rmSync(proc, { recursive: true, force: true }))
  mkdirSync(join(proc, 'sys'))
  for (const [pid, made] of Object.entries(processes)) {
    const { argv, environment = {}, session = pid, state = 'S', startTime = 7000 } = made
    mkdirSync(join(proc, pid))
    const words = Object.entries({ HOME: '/root', ...environment }).map(([name, value]) => `${name}=${value}`)
    const ended = (each: readonly string[]) => each.map((word) => `${word}\0`).join('')
    const gone = state === 'Z' || state === 'new'
    writeFileSync(join(proc, pid, 'environ'), gone ? '' : ended(words))
    writeFileSync(join(proc, pid, 'cmdline'), gone ? '' : ended(argv))
    const letter = state === 'new' ? 'R' : state
    const between = Array.from({ length: 15 }, () => '0').join(' ')
    writeFileSync(
      join(proc, pid, 'stat'),
      `${pid} (a) b) (c) ${letter} 1 ${pid} ${session} ${between} ${startTime} 0\n`,
    )
  }
  return proc
}

const copy = ['VBoxManage', 'clonemedium', 'disk', '/images/ä b.vdi', '']
const environment = startedByUs(copy)
const found = (processes: Readonly<Record<number, MadeUp>>, starter = us) =>
  programsOf(starter, procWith(processes))

describe('the mark of a program', () => {
  it('is found again with the name and the pid of the program', () => {
    expect(found({ 41: { argv: copy, environment } })).toEqual({
      programs: [{ name: 'VBoxManage', pid: 41, startTime: '7000' }],
      starting: false,
    })
  })

  it.each([
    ['a shell that runs a script', ['/bin/sh', '-e', '/usr/bin/VBoxManage', ...copy.slice(1)]],
    ['an interpreter that a script has become', ['/usr/bin/node', 'main.mjs', ...copy.slice(1)]],
    ['a program that a script has become', ['/usr/lib/virtualbox/VBoxManage.real', ...copy.slice(1)]],
  ])('is found at %s', (_, argv) => {
    expect(found({ 41: { argv, environment } }).programs).toMatchObject([{ name: 'VBoxManage' }])
  })

  it('names a program without arguments, and one with spaces in its name', () => {
    const odd = ['/opt/my tools/long copy']
    const processes = {
      41: { argv: ['/usr/bin/virsh'], environment: startedByUs(['virsh']) },
      42: { argv: ['/bin/sh', ...odd], environment: startedByUs(odd) },
      43: { argv: ['/usr/sbin/libvirtd'], environment: startedByUs(['virsh']) },
    }
    expect(found(processes).programs.map(({ name }) => name)).toEqual(['virsh', 'long copy'])
  })

  it('holds no argument in a readable form', () => {
    expect(Object.values(startedByUs(['/opt/tool', 'word-of-an-argument']))).toEqual([
      expect.stringMatching(new RegExp(`^${us.pid} ${us.startTime} pid:\\[\\d+\\] 1 [0-9a-f]{16} tool$`)),
    ])
  })
})

describe('no program of a starter', () => {
  it.each<[string, MadeUp]>([
    ['a daemon that inherits the mark', { argv: ['VBoxSVC', '--auto-shutdown'], environment }],
    ['a daemon with more arguments', { argv: [...copy, '--daemon'], environment }],
    ['a daemon with fewer words than the arguments', { argv: copy.slice(2), environment }],
    [
      'a daemon with the same last words',
      { argv: ['sh', '-c', 'sleep 9', 'sh', ...copy.slice(1)], environment },
    ],
    [
      'a daemon with the same only argument',
      { argv: ['imaged', 'disk'], environment: startedByUs(['image', 'disk']) },
    ],
    ['a child with the same arguments', { argv: copy, environment, session: 40 }],
    ['a program that has ended', { argv: copy, environment, state: 'Z' }],
    ['a program that nobody has marked', { argv: copy }],
    ['a program with a damaged mark', { argv: copy, environment: { HYDRA_OPS_STARTED_BY: '1 2' } }],
  ])('is %s', (_, made) => {
    expect(found({ 41: made })).toEqual({ programs: [], starting: false })
  })

  it.each<[string, Partial<Starter>]>([
    ['another pid', { pid: us.pid + 1 }],
    ['the same pid at another time', { startTime: `${us.startTime}0` }],
    ['the same pid in another container', { pidNamespace: 'pid:[1]' }],
  ])('is a program of a process with %s', (_, differs) => {
    expect(found({ 41: { argv: copy, environment } }, { ...us, ...differs }).programs).toEqual([])
  })

  it('is found where processes cannot be read, or where there is no /proc', () => {
    const proc = procWith({ 41: { argv: copy, environment }, 42: { argv: copy, environment } })
    for (const file of ['41/environ', '42/cmdline']) {
      // A folder cannot be read as a file, not even by root.
      rmSync(join(proc, file))
      mkdirSync(join(proc, file))
    }
    expect(programsOf(us, proc)).toEqual({ programs: [], starting: false })
    expect(programsOf(us, join(proc, 'nothing'))).toEqual({ programs: [], starting: false })
  })
})

describe('a process that begins', () => {
  it('is told apart from a process that has ended, and from one of another session', () => {
    expect(found({ 41: { argv: copy, state: 'new' } })).toEqual({ programs: [], starting: true })
    expect(found({ 41: { argv: copy, state: 'new', session: 0 } }).starting).toBe(false)
  })
})

describe('a program that was found', () => {
  it('runs until another process has its pid, or it has ended', () => {
    const program = { name: 'VBoxManage', pid: 41, startTime: '7000' }
    expect(stillRuns(program, procWith({ 41: { argv: copy } }))).toBe(true)
    expect(stillRuns(program, procWith({ 41: { argv: copy, startTime: 7001 } }))).toBe(false)
    expect(stillRuns(program, procWith({ 41: { argv: copy, state: 'Z' } }))).toBe(false)
    expect(stillRuns(program, procWith({}))).toBe(false)
  })
})
