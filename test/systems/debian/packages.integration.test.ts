import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Run } from '../../../src/core/run.js'
import { installPackages, missingPackages } from '../../../src/systems/debian/packages.js'
import { LocalShellHost } from '../../fakes/local-shell-host.js'

/**
 * The root of stand-ins for dpkg-query, dpkg and apt-get. An "installation" adds a line to a list. `refuse` has the
 * error that apt-get prints instead, and `gate` makes apt-get wait. The real apt runs in the tests with a guest.
 */
let root: string
let host: LocalShellHost
let logged: string[]
let controller: AbortController
let run: Run

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'hydra-ops-apt-'))
  for (const folder of ['bin', 'run', 'lib', 'lib/apt/lists'])
    mkdirSync(join(root, folder), { recursive: true })
  standIn('dpkg-query', `cat '${root}/installed'`)
  standIn('dpkg', `echo "dpkg $*" >> '${root}/calls'`)
  standIn(
    'apt-get',
    `
shift 2; cp "$1" '${root}/conf'; shift
echo "apt-get $*" >> '${root}/calls'
cp '${root}/lib/hydra-ops/apt-installed' '${root}/written-down' 2>/dev/null
case $1 in update) exit 0 ;; esac
while [ -e '${root}/gate' ]; do sleep 0.05; done
if [ -e '${root}/refuse' ]; then cat '${root}/refuse'; exit 100; fi
shift 2
for name in "$@"; do echo "ii |\${name%%=*}|\${name#*=}|" >> '${root}/installed'; done
echo done > '${root}/ended'`,
  )
  writeFileSync(join(root, 'installed'), 'ii |dash|0.5|\n')
  host = new LocalShellHost({
    bin: join(root, 'bin'),
    moved: { '/run/hydra-ops': join(root, 'run/hydra-ops'), '/var/lib/': join(root, 'lib/') },
  })
  logged = []
  controller = new AbortController()
  run = { signal: controller.signal, log: (line) => logged.push(line) }
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

function standIn(name: string, body: string): void {
  writeFileSync(join(root, 'bin', name), `#!/bin/sh\n${body}\n`, { mode: 0o755 })
}

function calls(): string[] {
  return readFileSync(join(root, 'calls'), 'utf8').trim().split('\n')
}

function wanted(...own: string[]) {
  return { all: own, own: own.map((each) => each.split('=')[0] ?? '') }
}

describe('installPackages', () => {
  it('does nothing when all packages are installed', async () => {
    expect(await installPackages(host, wanted('dash'), { proxy: undefined, run })).toEqual([])
    expect(existsSync(join(root, 'calls'))).toBe(false)
  })

  it('repairs dpkg, fetches the index, and installs the missing packages in one go', async () => {
    expect(await installPackages(host, wanted('dash', 'jq=1.6', 'curl'), { proxy: undefined, run })).toEqual([
      'jq=1.6',
      'curl',
    ])
    expect(calls()).toEqual([
      'dpkg --force-confold --configure -a',
      'apt-get update',
      'apt-get install -- jq=1.6 curl',
    ])
    expect(await missingPackages(host, wanted('dash', 'jq=1.6', 'curl'), run)).toEqual([])
  })

  it('sees a package in another version as missing', async () => {
    expect(await missingPackages(host, wanted('dash=0.6'), run)).toEqual(['dash=0.6'])
  })

  it('records the packages before their installation, and only the missing ones', async () => {
    mkdirSync(join(root, 'lib/hydra-ops'))
    writeFileSync(join(root, 'lib/hydra-ops/apt-installed'), 'earlier\n')
    const packages = { all: ['dash=0.6', 'jq=1.6', 'nix-bin'], own: ['dash', 'jq'] }
    await installPackages(host, packages, { proxy: undefined, run })
    expect(readFileSync(join(root, 'written-down'), 'utf8')).toBe('earlier\njq\n')
  })

  it('installs the first of alternatives when none is installed', async () => {
    const packages = { all: ['postfix | mail-transport-agent'], own: [] }
    expect(await missingPackages(host, packages, run)).toEqual(['postfix'])
    expect(await installPackages(host, packages, { proxy: undefined, run })).toEqual(['postfix'])
    expect(calls().at(-1)).toBe('apt-get install -- postfix')
    writeFileSync(join(root, 'installed'), 'ii |exim4|4|default-mta, mail-transport-agent\n')
    expect(await installPackages(host, packages, { proxy: undefined, run })).toEqual([])
  })

  it('answers the questions of an installation before they appear, unless they were answered before', async () => {
    standIn('debconf-show', `[ "$1" = postfix ] && printf '* postfix/old: x\\n  postfix/type: y\\n'`)
    standIn('debconf-set-selections', `sed 's/^/debconf /' >> '${root}/calls'`)
    const answers = [
      'postfix postfix/type select A B',
      'postfix postfix/old string z',
      'other other/x string y',
    ]
    await installPackages(host, { all: ['postfix', 'dash'], own: [], answers }, { proxy: undefined, run })
    expect(calls().slice(0, 2)).toEqual([
      'dpkg --force-confold --configure -a',
      'debconf postfix postfix/type select A B',
    ])
    expect(calls().filter((call) => call.startsWith('debconf'))).toHaveLength(1)
  })

  it('installs nothing when an answer is rejected', async () => {
    standIn('debconf-show', '')
    standIn('debconf-set-selections', 'exit 1')
    const packages = { all: ['postfix'], own: [], answers: ['postfix postfix/type select A'] }
    await expect(installPackages(host, packages, { proxy: undefined, run })).rejects.toThrow(
      'packages could not be installed: debconf rejects the answer to postfix/type',
    )
    expect(calls().some((call) => call.startsWith('apt-get'))).toBe(false)
  })

  it('fetches no index that is fresh, unless the installation fails with it', async () => {
    mkdirSync(join(root, 'lib/hydra-ops'))
    writeFileSync(join(root, 'lib/hydra-ops/apt-updated'), '')
    writeFileSync(join(root, 'lib/apt/lists/x_Packages'), '')
    await installPackages(host, wanted('jq'), { proxy: undefined, run })
    expect(calls().filter((call) => call.includes('update'))).toEqual([])

    writeFileSync(join(root, 'refuse'), 'E: Unable to locate package newer\n')
    await expect(installPackages(host, wanted('newer'), { proxy: undefined, run })).rejects.toThrow()
    expect(calls().slice(-3)).toEqual([
      'apt-get install -- newer',
      'apt-get update',
      'apt-get install -- newer',
    ])
  })

  it('passes the proxy in a file, shows no password, and leaves the file nowhere', async () => {
    standIn('dpkg', `echo 'dpkg: http://user:hunter2@proxy:3128 refused'`)
    await installPackages(host, wanted('jq'), { proxy: 'http://user:hunter2@proxy:3128', run })
    expect(readFileSync(join(root, 'conf'), 'utf8')).toContain('hunter2')
    expect(logged.join('\n')).toContain('http://***@proxy:3128 refused')
    expect(logged.join('\n') + JSON.stringify(host.seen)).not.toContain('hunter2')
    expect(readdirSync(join(root, 'run/hydra-ops'))).toEqual([])
  })

  it('carries a port of the operator only while apt runs', async () => {
    let closed = false
    host.forwardFromRemote = async (operatorPort) => {
      expect(operatorPort).toBe(3142)
      return {
        port: 40123,
        close: async () => {
          closed = true
        },
      }
    }
    await installPackages(host, wanted('jq'), { proxy: 'operator:3142', run })
    expect(readFileSync(join(root, 'conf'), 'utf8')).toContain(
      'Acquire::http::Proxy "http://127.0.0.1:40123";',
    )
    expect(closed).toBe(true)
  })

  it.each([
    ['E: Unable to locate package jq', "machine 'local': the apt sources of the machine do not contain: jq"],
    [
      "E: Version '1.6' for 'jq' was not found",
      "machine 'local': the apt sources of the machine do not contain: jq",
    ],
    [
      "E: Package 'jq' has no installation candidate",
      "machine 'local': the apt sources of the machine do not contain: jq",
    ],
    [
      'E: Some packages could not be authenticated',
      "machine 'local': packages could not be installed: Some packages could not be authenticated",
    ],
    ['no message', "machine 'local': packages could not be installed: apt-get ended with status 100"],
  ])('explains the meaning of apt’s error %j', async (said, message) => {
    writeFileSync(join(root, 'refuse'), `${said}\n`)
    await expect(installPackages(host, wanted('jq'), { proxy: undefined, run })).rejects.toThrow(message)
  })

  it('goes on when the operator that started it is gone', async () => {
    writeFileSync(join(root, 'gate'), '')
    const attempt = installPackages(host, wanted('jq'), { proxy: undefined, run })
    await vi.waitFor(() => expect(calls().at(-1)).toBe('apt-get install -- jq'), { timeout: 60_000 })
    controller.abort()
    await expect(attempt).rejects.toMatchObject({ code: 'INTERRUPTED' })
    expect(existsSync(join(root, 'ended'))).toBe(false)
    rmSync(join(root, 'gate'))
    await vi.waitFor(() => expect(existsSync(join(root, 'ended'))).toBe(true), { timeout: 60_000 })
  })

  it('waits for the holder of apt’s lock, and names it', async () => {
    const lock = join(root, 'lib/apt/lists/lock')
    writeFileSync(lock, '')
    const held = join(root, 'held')
    const { spawn } = await import('node:child_process')
    // The process takes a POSIX lock as apt does; perl packs the lock structure of 64-bit Linux.
    const holder = spawn('perl', [
      '-e',
      `open F, '+<', $ARGV[0]; my $l = pack('s s x4 q q l x4', 1, 0, 0, 0, 0); fcntl(F, 6, $l) or die $!; open H, '>', $ARGV[1]; close H; <STDIN>`,
      lock,
      held,
    ])
    await vi.waitFor(() => expect(existsSync(held)).toBe(true), { timeout: 60_000 })
    const attempt = installPackages(host, wanted('jq'), { proxy: undefined, run })
    const waiting = `waiting for ${lock}, held by process ${holder.pid}`
    await vi.waitFor(() => expect(logged.join('\n')).toContain(waiting), { timeout: 60_000 })
    expect(existsSync(join(root, 'calls'))).toBe(false)
    holder.stdin.end()
    expect(await attempt).toEqual(['jq'])
  })

  it.each([
    ['another file of that number on another disk', process.pid],
    // No process can have this pid, which is larger than any real pid.
    ['a process that has ended', 4_194_304],
  ])('does not mistake for the holder of apt’s lock %s', async (_, pid) => {
    const lock = join(root, 'lib/apt/lists/lock')
    writeFileSync(lock, '')
    const { ino } = statSync(lock, { bigint: true })
    writeFileSync(join(root, 'locks'), `1: POSIX  ADVISORY  WRITE ${pid} 00:fe:${ino} 0 EOF\n`)
    host = new LocalShellHost({
      bin: join(root, 'bin'),
      moved: {
        '/run/hydra-ops': join(root, 'run/hydra-ops'),
        '/var/lib/': join(root, 'lib/'),
        '/proc/locks': join(root, 'locks'),
      },
    })
    const first = await new Promise((resolve, reject) => {
      const log = (line: string) => {
        if (line.includes('waiting for')) resolve('it waits')
      }
      installPackages(host, wanted('jq'), { proxy: undefined, run: { ...run, log } }).then(resolve, reject)
    })
    expect(first).toEqual(['jq'])
  })
})
