import { spawn } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Host } from '../../src/core/ssh.js'
import { type NixServeOptions, nixServeTask } from '../../src/setup/nix-serve.js'
import {
  type CacheProgram,
  cacheServices,
  findCacheProgram,
  harmoniaFile,
} from '../../src/setup/nix-serve-program.js'
import { nixServeProofTask } from '../../src/setup/nix-serve-proof.js'
import { hashPart } from '../../src/setup/served-path.js'
import { LocalShellHost } from '../fakes/local-shell-host.js'
import { standInSystemctl } from '../fakes/stand-in-systemctl.js'
import { taskRun } from '../fakes/task-run.js'
import { freePort } from '../fixtures/free-port.js'
import { Daemon, type StandIn, StandIns } from '../hydra/stand-in-packages.js'

/** The stand-ins for the proof of the nix-serve task, with a separate store. */
const standIns = new StandIns()
const programs = ['nix-serve', 'nix-serve-ng', 'harmonia', 'harmonia-2'] as const
const secret = join(standIns.nix.folder, 'secret')
let root: string
let env: Record<string, string>
let host: LocalShellHost

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'ho-nix-serve-'))
  mkdirSync(join(root, 'bin'))
  standInSystemctl(root)
  writeFileSync(join(root, 'bin', 'journalctl'), '#!/bin/sh\nprintf "%s\\n" "$@"\n', { mode: 0o755 })
  const units = ['nix-serve.service', 'nix-serve-store.service']
  for (const unit of units) writeFileSync(join(root, `active-${unit}`), '')
  const shown = units.map((unit) => `Id=${unit}\nActiveState=active\nNRestarts=0\n`)
  writeFileSync(join(root, 'shown'), shown.join('\n'))
  await standIns.build(...programs)
  await standIns.nix.nix('nix-store', ['--generate-binary-cache-key', 'ci-1', secret, `${secret}.pub`])
  env = await standIns.env({ NIX_SECRET_KEY_FILE: secret })
  const variables = Object.entries({ ...env, PATH: `${join(root, 'bin')}:${env.PATH}` })
  host = new LocalShellHost({ prefix: ['env', ...variables.map(([name, value]) => `${name}=${value}`)] })
})
afterAll(async () => {
  await standIns.dispose()
  rmSync(root, { recursive: true, force: true })
})

/** Returns a host for the same machine, but with an unreadable journal. */
function withoutJournal(): Host {
  const exec: Host['exec'] = async (argv, options) =>
    argv[0] === 'journalctl' ? { kind: 'exited', code: 1, stdout: '', stderr: '' } : host.exec(argv, options)
  return Object.assign(Object.create(host), { exec })
}

/** Returns the real folder of a stand-in's package; its store path exists only in the separate store. */
function packageOf(name: StandIn): string {
  return dirname(standIns.bin(name))
}

async function programOf(name: StandIn): Promise<CacheProgram> {
  const program = await findCacheProgram(host, packageOf(name), taskRun())
  if (program === undefined) throw new Error(`${name} has no program`)
  return program
}

/** A cache program that runs as its unit specifies. */
interface Started {
  readonly options: NixServeOptions
  readonly daemon: Daemon
  get(path: string): Promise<Response>
}

/** Starts a program with the command line, the variables and the settings of its unit. */
async function started(name: (typeof programs)[number], more: Record<string, string> = {}): Promise<Started> {
  const port = await freePort()
  const options = {
    package: packageOf(name),
    address: '127.0.0.1',
    port,
    secretKeyFile: secret,
    publicKeyFile: `${secret}.pub`,
  }
  const { files } = cacheServices(options, await programOf(name))
  const textOf = (end: string) => `${files.find(({ path }) => path.endsWith(end))?.content ?? ''}`
  const settings = join(root, `${name}.toml`)
  // The settings of a real machine have no such line.
  writeFileSync(
    settings,
    `${textOf(harmoniaFile)}real_nix_store = ${JSON.stringify(standIns.nix.real('/nix/store'))}\n`,
  )
  const text = textOf('/nix-serve.service')
  const variables = variablesIn(text, { '%d/key': secret, '%t': root, [harmoniaFile]: settings })
  const [exec = ''] = /(?<=^ExecStart=.*\/bin\/).*$/m.exec(text) ?? []
  const get = (path: string) => fetch(`http://127.0.0.1:${port}${path}`)
  const up = async () => (await get('/nix-cache-info').catch(() => undefined))?.status === 200
  const { NIX_SECRET_KEY_FILE: _, ...plain } = env
  const daemon = await standIns.start(
    name,
    exec.split(' '),
    { ...plain, ...variables, NIX_REMOTE: env.NIX_REMOTE ?? '', ...more },
    up,
  )
  return { options, daemon, get }
}

/** Returns the variables of a unit; `known` replaces texts that only systemd or a machine can resolve. */
function variablesIn(text: string, known: Readonly<Record<string, string>>): Record<string, string> {
  const lines = [...text.matchAll(/^Environment=(.*)$/gm)].map(([, line = '']) => line)
  const words = lines.flatMap((line) => (line.startsWith('"') ? [line.slice(1, -1)] : line.split(' ')))
  const place = (value: string) =>
    Object.entries(known).reduce((all, [name, instead]) => all.replaceAll(name, instead), value)
  return Object.fromEntries(
    words.map((word) => [word.slice(0, word.indexOf('=')), place(word.slice(word.indexOf('=') + 1))]),
  )
}

/** Returns the first state in which the proof waits. */
async function firstComplaint({ options }: Started): Promise<string> {
  const stop = new AbortController()
  let seen = ''
  const log = (line: string) => {
    seen ||= line
    stop.abort()
  }
  const failed = await nixServeTask.verify(host, options, { ...taskRun(), signal: stop.signal, log }).then(
    () => '',
    (error: unknown) => String(error),
  )
  return seen === '' ? failed : seen
}

describe('the program of a package', () => {
  it.each<[StandIn, CacheProgram | undefined]>([
    ['nix-serve', { kind: 'nix-serve' }],
    ['nix-serve-ng', { kind: 'nix-serve-ng' }],
    [
      'harmonia',
      {
        kind: 'harmonia',
        name: 'harmonia-cache',
        keyVariable: 'SIGN_KEY_PATHS',
        notifies: true,
        readsDatabase: true,
      },
    ],
    [
      'harmonia-2',
      {
        kind: 'harmonia',
        name: 'harmonia',
        keyVariable: 'SIGN_KEY_PATHS',
        notifies: false,
        readsDatabase: false,
      },
    ],
  ])('is found: %s', async (name, program) => {
    expect(await programOf(name)).toEqual(program)
  })

  it('is found behind a wrapper, and an old harmonia has one key', async () => {
    const bin = join(root, 'wrapped/bin')
    mkdirSync(bin, { recursive: true })
    writeFileSync(join(bin, 'harmonia'), '#!/bin/sh\n', { mode: 0o755 })
    // The word of another setting follows the variable's name directly.
    writeFileSync(join(bin, '.harmonia-wrapped'), 'SIGN_KEY_PATHSign key in', { mode: 0o755 })
    const found = () => findCacheProgram(host, dirname(bin), taskRun())
    expect(await found()).toMatchObject({ name: 'harmonia', keyVariable: 'SIGN_KEY_PATH' })
    writeFileSync(join(bin, '.harmonia-wrapped'), 'deprecated. Use SIGN_KEY_PATHS instead.', { mode: 0o755 })
    expect(await found()).toMatchObject({ name: 'harmonia', keyVariable: 'SIGN_KEY_PATHS' })
  })

  it('is missing in another package, and the error names the three packages', async () => {
    mkdirSync(join(root, 'other/bin'), { recursive: true })
    const options = { address: '127.0.0.1', port: 1, secretKeyFile: secret, publicKeyFile: secret }
    await expect(
      nixServeTask.apply(host, { ...options, package: join(root, 'other') }, taskRun()),
    ).rejects.toMatchObject({
      code: 'PACKAGE',
      message: expect.stringContaining('has no bin/nix-serve, bin/harmonia-cache or bin/harmonia'),
      hint: expect.stringContaining('nix-serve, nix-serve-ng or harmonia'),
    })
  })
})

describe('a cache of the store', () => {
  it.each(programs)('serves signed paths with the unit that hydra-ops writes: %s', async (name) => {
    expect(await firstComplaint(await started(name))).toBe('')
  })

  it('would not start with the command line of another program', async () => {
    const ended = standIns.run(
      'nix-serve-ng',
      ['nix-serve', '--listen', '127.0.0.1:1', '--workers', '2'],
      env,
    )
    expect(ended).toMatchObject({ status: 1, stderr: expect.stringContaining("Invalid option `--workers'") })
    writeFileSync(join(root, 'wrong.toml'), 'bind = "127.0.0.1:1"\nlisten = "127.0.0.1:1"\n')
    const refused = standIns.run('harmonia', ['harmonia-cache'], {
      ...env,
      CONFIG_FILE: join(root, 'wrong.toml'),
    })
    expect(refused).toMatchObject({ status: 1, stderr: expect.stringContaining('unknown field `listen`') })
  })

  it('by harmonia cannot read an idle database without write permission, and can while the second unit runs', async () => {
    const { get, daemon } = await started('harmonia')
    const log = databaseLog()
    const folder = dirname(log)
    const path = `/${hashPart(standIns.path('harmonia'))}.narinfo`
    // A program of an earlier test may still have the database open, and its files exist until then.
    await daemon.until('the database is idle', () => !existsSync(log))
    chmodSync(folder, 0o555)
    try {
      expect((await get(path)).status).toBe(500)
      await daemon.says(/nix database error \(\S+\): (attempt to write a readonly database|unable to open)/)
      chmodSync(folder, 0o755)
      const store = await heldStore()
      chmodSync(folder, 0o555)
      expect((await get(path)).status).toBe(200)
      expect(await store.stop()).not.toBe(0)
    } finally {
      chmodSync(folder, 0o755)
    }
  })
})

/** Returns the path of a file that exists while a program has Nix's database open. */
function databaseLog(): string {
  return standIns.nix.real('/nix/var/nix/db/db.sqlite-wal')
}

/** Runs the script of the second unit until it holds the database. */
async function heldStore(): Promise<Daemon> {
  const files = cacheServices(
    { package: '/x', address: '127.0.0.1', port: 1, secretKeyFile: secret },
    await programOf('harmonia'),
  ).files
  const script = join(root, 'hold-store.sh')
  writeFileSync(script, `${files.find(({ path }) => path.endsWith('.sh'))?.content}`)
  const daemon = new Daemon(
    spawn('/bin/sh', [script], {
      env: { ...env, RUNTIME_DIRECTORY: root },
      stdio: ['ignore', 'pipe', 'pipe'],
    }),
  )
  // SQLite creates the index after the log, and needs a writable folder.
  await daemon.until('the database has its files', () =>
    [databaseLog(), databaseLog().replace(/wal$/, 'shm')].every((file) => existsSync(file)),
  )
  return daemon
}

describe('the proof of nix-serve', () => {
  it('does not hold when `nix dump-path` fails: the answer has a status of 200 and no body', async () => {
    const task = await started('nix-serve', { NIX_CONFIG: 'experimental-features =' })
    expect(await firstComplaint(task)).toMatch(/the answer ended after 0 of \d+ bytes$/)
  })

  it('ends early when the NAR stays empty, with lines of the journal since it began', async () => {
    const task = await started('nix-serve', { NIX_CONFIG: 'experimental-features =' })
    const begin = Math.floor(Date.now() / 1_000)
    const failed: unknown = await nixServeTask
      .verify(host, task.options, taskRun())
      .catch((error: unknown) => error)
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
    const task = await started('nix-serve', { NIX_CONFIG: 'experimental-features =' })
    await expect(nixServeTask.verify(withoutJournal(), task.options, taskRun())).rejects.toMatchObject({
      code: 'LASTING_CAUSE',
      detail:
        "the journal cannot be read: machine 'local': cannot read the journal: the command ended with status 1",
    })
  })

  it('does not hold when the key of another machine signs', async () => {
    const other = join(standIns.nix.folder, 'other')
    await standIns.nix.nix('nix-store', ['--generate-binary-cache-key', 'ci-1', other, `${other}.pub`])
    const task = await started('nix-serve', { NIX_SECRET_KEY_FILE: other })
    expect(await firstComplaint(task)).toContain('is not signed by the key of this machine')
  })

  it('does not hold when a NAR of the right length has another content', async () => {
    const bin = join(root, 'wrong-nix')
    mkdirSync(bin)
    writeFileSync(join(bin, 'nix'), '#!/bin/sh\n/usr/bin/nix "$@" | tr h H\n', { mode: 0o755 })
    const task = await started('nix-serve', { PATH: `${bin}:${env.PATH}` })
    expect(await firstComplaint(task)).toMatch(/the NAR has the hash sha256:\w{52} instead of sha256:\w{52}/)
  })
})

describe('the proof of a server that NixOS starts', () => {
  const ofNixos = ({ options: { address, port } }: Started, secretKeyFile = secret) => ({
    unit: 'nix-serve.service',
    package: null,
    address,
    port,
    secretKeyFile,
    // The service of the user made no public file.
    publicKeyFile: `${secretKeyFile}.absent`,
  })

  it('holds with the secret key alone, from which the public key follows', async () => {
    const task = await started('nix-serve')
    expect(await nixServeProofTask.apply(host, ofNixos(task), taskRun())).toEqual({})
  })

  it('does not hold when the service signs with another key', async () => {
    const other = join(standIns.nix.folder, 'of-service')
    await standIns.nix.nix('nix-store', ['--generate-binary-cache-key', 'ci-1', other, `${other}.pub`])
    const options = ofNixos(await started('nix-serve'), other)
    const stop = new AbortController()
    const lines: string[] = []
    const log = (line: string) => {
      lines.push(line)
      stop.abort()
    }
    await expect(
      nixServeProofTask.verify(host, options, { ...taskRun(), signal: stop.signal, log }),
    ).rejects.toThrow()
    expect(lines.join()).toContain('is not signed by the key of this machine')
  })

  it('names the file and the unit when nobody has made the key', async () => {
    const options = ofNixos(await started('nix-serve'), join(root, 'no-key'))
    await expect(nixServeProofTask.verify(host, options, taskRun())).rejects.toMatchObject({
      code: 'CACHE_KEY',
      message: expect.stringContaining('no-key is not a Nix signing key'),
      hint: expect.stringContaining('journalctl -u nix-serve.service'),
    })
  })

  it('is due again while the service is restarted again and again', async () => {
    const shown = join(root, 'shown')
    const before = readFileSync(shown, 'utf8')
    const options = ofNixos(await started('nix-serve'))
    expect(await nixServeProofTask.probe(host, options, taskRun())).toBe('done')
    try {
      const uptime = Number(readFileSync('/proc/uptime', 'utf8').split('.')[0])
      const facts = `ActiveState=active\nNRestarts=16\nActiveEnterTimestampMonotonic=${uptime * 1e6}\n`
      writeFileSync(shown, `Id=nix-serve.service\n${facts}`)
      expect(await nixServeProofTask.probe(host, options, taskRun())).toEqual({
        drifted: 'nix-serve.service was restarted 16 times so far',
      })
    } finally {
      writeFileSync(shown, before)
    }
  })
})
