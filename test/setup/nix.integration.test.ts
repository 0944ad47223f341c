import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { bindTask } from '../../src/core/setup-task.js'
import { askMachine } from '../../src/remote/run-script.js'
import { nixTask } from '../../src/setup/nix.js'
import { gcUnit, nixInclude, nixSettingsFile } from '../../src/setup/nix-config.js'
import { nixRecordFile, recordNixStart } from '../../src/setup/nix-start.js'
import { LocalShellHost } from '../fakes/local-shell-host.js'
import { nixosMachine } from '../fakes/nixos-machine.js'
import { taskMachine, taskRun } from '../fakes/task-run.js'
import { taskContract } from './task-contract.js'

/**
 * The folder that replaces the folders of Nix, systemd and hydra-ops for the real scripts. systemctl is a stand-in that
 * records each call, and keeps a file per unit. nix-store prints a version, and calls the real program for settings.
 */
let root: string
let host: LocalShellHost
let place: { bin: string; moved: Record<string, string>; asRoot: boolean }

const run = taskRun()
const debianConf = '# from Debian\nsandbox = false'

const systemctl = (root: string) => `
echo "$*" >> '${root}/systemctl'
while case $1 in --*) ;; *) false ;; esac; do shift; done
verb=$1
shift
[ "$1" != --now ] || { rm -f "${root}/active-$2"; shift; }
case $verb in
  is-active)
    status=3
    for unit do if [ -e "${root}/active-$unit" ]; then echo active; status=0; else echo inactive; fi; done
    exit $status ;;
  is-enabled)
    status=1
    for unit do if [ -e "${root}/enabled-$unit" ]; then echo enabled; status=0; else echo disabled; fi; done
    exit $status ;;
  start)
    if [ "$1" = nix-daemon.socket ] && [ ! -e "${root}/active-$1" ] && [ -e "${root}/active-nix-daemon.service" ]
    then echo 'Job failed. See "journalctl -xe" for details.' >&2; exit 1; fi
    : > "${root}/active-$1" ;;
  restart) : > "${root}/active-$1" ;;
  stop) rm -f "${root}/active-$1" ;;
  enable) : > "${root}/enabled-$1" ;;
  disable) rm -f "${root}/enabled-$1" ;;
esac
`

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'hydra-ops-nix-'))
  for (const folder of ['bin', 'etc/nix', 'etc/systemd/system', 'run'])
    mkdirSync(join(root, folder), { recursive: true })
  standIn('systemctl', systemctl(root))
  // The stand-in calls the real nix-store to read settings.
  standIn('nix-store', '[ -z "$NIX_CONF_DIR" ] || exec /usr/bin/nix-store "$@"; echo "nix-store (Nix) 2.8.0"')
  // This folder has all programs except Nix's.
  mkdirSync(join(root, 'no-nix'))
  for (const name of ['sh', 'mktemp', 'rm', 'cat', 'grep', 'sha256sum', 'mkdir', 'touch'])
    symlinkSync(`/usr/bin/${name}`, join(root, 'no-nix', name))
  place = {
    bin: join(root, 'bin'),
    moved: {
      '/etc/nix': join(root, 'etc/nix'),
      '/etc/systemd/system': join(root, 'etc/systemd/system'),
      '/run/hydra-ops': join(root, 'run/hydra-ops'),
      '/var/lib/hydra-ops': join(root, 'var'),
    },
    asRoot: true,
  }
  host = new LocalShellHost(place)
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

function standIn(name: string, body: string): void {
  writeFileSync(join(root, 'bin', name), `#!/bin/sh\n${body}\n`, { mode: 0o755 })
}

function wanted(nix: Record<string, unknown> = {}) {
  const task = bindTask(nixTask)(taskMachine({ nix }))
  if (task === undefined) throw new Error('the nix task is not wanted')
  return task
}

const gc = { gc: { automatic: true, dates: 'daily' } }

describe('the nix task on a stand-in', () => {
  taskContract(() => ({
    host,
    task: wanted(gc),
    verifiable: false,
    placesFiles: true,
    reset: `cd '${root}'; rm -rf etc/nix/* etc/systemd/system/* run/* active-* enabled-*; printf '${debianConf}' > etc/nix/nix.conf`,
    damages: {
      'settings changed': `echo x >> '/etc/nix/hydra-ops.conf'`,
      'settings gone': `rm '/etc/nix/hydra-ops.conf'`,
      'Debian’s file restored': `echo sandbox=false > '/etc/nix/nix.conf'`,
      'Debian’s file gone': `rm '/etc/nix/nix.conf'`,
      'socket stopped': `rm '${root}/active-nix-daemon.socket'`,
      'only the service running, as Debian’s package leaves it': `rm '${root}/active-nix-daemon.socket'; : > '${root}/active-nix-daemon.service'`,
      'socket disabled': `rm '${root}/enabled-nix-daemon.socket'`,
      'timer stopped': `rm '${root}/active-hydra-ops-nix-gc.timer'`,
      'timer changed': `echo x >> '/etc/systemd/system/hydra-ops-nix-gc.timer'`,
    },
  }))

  function calls(verb: string): number {
    const lines = readFileSync(join(root, 'systemctl'), 'utf8').split('\n')
    return lines.filter((line) => line.split(' ').includes(verb)).length
  }

  const restarts = () => calls('try-restart')

  it('keeps the content of nix.conf and adds one line, once', async () => {
    writeFileSync(join(root, 'etc/nix/nix.conf'), debianConf)
    await wanted().apply(host, run)
    await wanted().apply(host, run)
    expect(readFileSync(join(root, 'etc/nix/nix.conf'), 'utf8')).toBe(
      `${debianConf}\n!include hydra-ops.conf\n`,
    )
  })

  it('has drifted when a line of extraOptions was removed from the file', async () => {
    const task = wanted({ extraOptions: 'max-jobs = 4' })
    await task.apply(host, run)
    expect(await task.probe(host, run)).toBe('done')
    const file = join(root, 'etc/nix/hydra-ops.conf')
    writeFileSync(file, readFileSync(file, 'utf8').replace('max-jobs = 4\n', ''))
    expect(await task.probe(host, run)).toEqual({ drifted: '/etc/nix/hydra-ops.conf differs' })
  })

  it.each(['max-jobs = many', 'sandbox = perhaps'])(
    'writes no settings that would stop every program of Nix: %s',
    async (line) => {
      await wanted().apply(host, run)
      const before = readFileSync(join(root, 'etc/nix/hydra-ops.conf'), 'utf8')
      await expect(wanted({ extraOptions: line }).apply(host, run)).rejects.toMatchObject({
        message: expect.stringContaining('read the settings of Nix'),
        hint: 'correct deployment.nix.extraOptions; the machine was not changed',
      })
      expect(readFileSync(join(root, 'etc/nix/hydra-ops.conf'), 'utf8')).toBe(before)
    },
  )

  it('reports that Nix is missing, and blames no option, when there is no nix-store', async () => {
    const without = new LocalShellHost({ ...place, prefix: ['env', `PATH=${join(root, 'no-nix')}`] })
    await expect(wanted({ extraOptions: 'max-jobs = 4' }).apply(without, run)).rejects.toMatchObject({
      code: 'NO_NIX',
      message: "machine 'local': nix-store is missing, although its package should be installed",
    })
  })

  it.each<[string, readonly string[]]>([
    [
      'max-job = 4\nsandboxx = true',
      [
        "deployment.nix.extraOptions: warning: unknown setting 'max-job'",
        "deployment.nix.extraOptions: warning: unknown setting 'sandboxx'",
      ],
    ],
    ['max-jobs = 4', []],
  ])('writes settings that are unknown to Nix, and the log names them: %j', async (lines, said) => {
    const { lines: log, ...rest } = taskRun()
    await wanted({ extraOptions: lines }).apply(host, rest)
    expect(log.filter((line) => line.includes('unknown'))).toEqual(said)
    expect(readFileSync(join(root, 'etc/nix/hydra-ops.conf'), 'utf8')).toContain(lines)
  })

  it('restarts the daemon once when the settings change, and otherwise not at all', async () => {
    await wanted().apply(host, run)
    const before = restarts()
    await wanted().apply(host, run)
    expect(restarts()).toBe(before)
    await wanted({ trustedUsers: ['builder'] }).apply(host, run)
    expect(restarts()).toBe(before + 1)
  })

  it('makes systemd read its units again, which takes seconds on a small machine, only when a unit changed', async () => {
    await wanted().apply(host, run)
    const before = calls('daemon-reload')
    await wanted().apply(host, run)
    expect(calls('daemon-reload')).toBe(before)
    await wanted(gc).apply(host, run)
    expect(calls('daemon-reload')).toBe(before + 1)
    await wanted().apply(host, run)
    expect(calls('daemon-reload')).toBe(before + 2)
  })

  it('writes a line of cron as the calendar events of systemd', async () => {
    const task = wanted({ gc: { automatic: true, dates: '30 4 13 * Sun-Tue' } })
    await task.apply(host, run)
    expect(readFileSync(join(root, 'etc/systemd/system/hydra-ops-nix-gc.timer'), 'utf8')).toContain(
      '[Timer]\nOnCalendar=*-*-13 4:30:00\nOnCalendar=Mon,Tue,Sun *-*-* 4:30:00\nPersistent=true\n',
    )
    expect(await task.probe(host, run)).toBe('done')
    await wanted().apply(host, run)
  })

  it('removes the schedule of the garbage collection when the option is dropped', async () => {
    await wanted(gc).apply(host, run)
    expect(await wanted().probe(host, run)).toEqual({
      drifted: 'the schedule of the garbage collection differs',
    })
    await wanted().apply(host, run)
    expect(await wanted().probe(host, run)).toBe('done')
    expect(await wanted(gc).probe(host, run)).not.toBe('done')
  })

  it('removes the rest of a schedule whose removal was cut off', async () => {
    await wanted().apply(host, run)
    writeFileSync(join(root, 'etc/systemd/system/hydra-ops-nix-gc.service'), '[Service]\n')
    expect(await wanted().probe(host, run)).not.toBe('done')
    await wanted().apply(host, run)
    expect(await wanted().probe(host, run)).toBe('done')
  })

  it('names the option before it writes anything when systemd cannot read the schedule', async () => {
    await wanted().apply(host, run)
    await expect(
      wanted({ gc: { automatic: true, dates: 'weekly Nowhere/Atall' } }).apply(host, run),
    ).rejects.toMatchObject({
      hint: expect.stringMatching(
        /^the machine does not know the time zone in deployment\.nix\.gc\.dates .*: install tzdata, or remove the time zone$/,
      ),
    })
    expect(await wanted().probe(host, run)).toBe('done')
  })
})

describe('the record of a Nix that starts', () => {
  const record = () => join(root, 'var/nix-starts')
  const settings = () => join(root, 'etc/nix/hydra-ops.conf')
  /** A place with this host's real Nix, whose state is in the folder too. */
  let real: LocalShellHost

  beforeAll(() => {
    mkdirSync(join(root, 'real'))
    symlinkSync(join(root, 'bin/systemctl'), join(root, 'real/systemctl'))
    const folders = [`NIX_STATE_DIR=${join(root, 'nix-state')}`, `NIX_CONF_DIR=${join(root, 'etc/nix')}`]
    const environment = ['env', ...folders, 'NIX_CONFIG=substituters =']
    real = new LocalShellHost({
      bin: join(root, 'real'),
      moved: place.moved,
      prefix: [...environment, 'unshare', '-r', '--'],
    })
  })

  const versionIn = async () => {
    const found = await askMachine(
      real,
      {
        what: 'look at Nix',
        script: 'tasks/nix/look',
        values: { settings: nixSettingsFile, include: nixInclude, gc: gcUnit, record: nixRecordFile },
      },
      run,
    )
    return found.get('nix')?.[0]
  }

  /** Changes the version in the record, so that the result of a look shows whether it queried Nix itself. */
  const mark = () => {
    const text = readFileSync(record(), 'utf8')
    expect(text).toContain('libnixstore')
    writeFileSync(record(), text.replace(/^nix_version='.*'$/m, "nix_version='recorded'"))
  }

  it('spares a look the start of Nix', async () => {
    await wanted().apply(real, run)
    mark()
    expect(await versionIn()).toBe('recorded')
    expect(await wanted().probe(real, run)).toBe('done')
  })

  it.each<[string, () => void]>([
    [
      'our settings change',
      () => writeFileSync(settings(), `${readFileSync(settings(), 'utf8')}cores = 3\n`),
    ],
    ['the times of nix.conf change', () => utimesSync(join(root, 'etc/nix/nix.conf'), 1, 1)],
    ['a file disappears', () => rmSync(settings())],
    ['the record is cut off', () => writeFileSync(record(), readFileSync(record(), 'utf8').slice(0, 400))],
    ['the record is empty', () => writeFileSync(record(), '')],
  ])('is not believed when %s', async (_, change) => {
    await wanted().apply(real, run)
    mark()
    change()
    expect(await versionIn()).toMatch(/^\d+\.\d+/)
  })

  it('reports no Nix that stopped starting', async () => {
    await wanted().apply(real, run)
    writeFileSync(join(root, 'etc/nix/nix.conf'), 'max-jobs = many\n!include hydra-ops.conf\n')
    expect(await versionIn()).toBeUndefined()
    writeFileSync(join(root, 'etc/nix/nix.conf'), debianConf)
  })

  it.each([
    ['an included file includes another one', '!include local.conf\n', 'include other.conf\n'],
    ['only Nix can read an include', 'include  local.conf\n', ''],
  ])('is not made when %s', async (_, line, local) => {
    writeFileSync(join(root, 'etc/nix/nix.conf'), `${debianConf}\n${line}`)
    writeFileSync(join(root, 'etc/nix/local.conf'), local)
    writeFileSync(join(root, 'etc/nix/other.conf'), '')
    await wanted().apply(real, run)
    expect(existsSync(record())).toBe(false)
    expect(await versionIn()).toMatch(/^\d+\.\d+/)
    for (const name of ['local', 'other']) rmSync(join(root, `etc/nix/${name}.conf`))
    writeFileSync(join(root, 'etc/nix/nix.conf'), debianConf)
  })

  describe('of a Nix that is upgraded while it answers', () => {
    const bin = () => join(root, 'upgraded')
    const machine = () => new LocalShellHost({ ...place, bin: bin() })
    const program = (name: string, body: string) =>
      writeFileSync(join(bin(), name), `#!/bin/sh\n${body}\n`, { mode: 0o755 })
    /** Replaces nix-store as dpkg does: a new file takes the name of the old one. */
    const upgrade = () => `mv -f '${bin()}/newer' '${bin()}/nix-store'\n`

    beforeEach(() => {
      rmSync(bin(), { recursive: true, force: true })
      mkdirSync(bin())
      // The stand-ins for Nix's programs are scripts, which need no library.
      program('ldd', `[ "$1" = '${bin()}/nix-store' ]`)
      program('newer', 'echo "nix-store (Nix) 2.9.0"')
      program('nix-store', 'echo "nix-store (Nix) 2.8.0"')
      program('nix', 'echo "system = x86_64-linux"')
    })

    it.each<[string, () => void]>([
      ['prints its version', () => program('nix-store', `echo "nix-store (Nix) 2.8.0"\n${upgrade()}`)],
      ['shows its settings', () => program('nix', `echo "system = x86_64-linux"\n${upgrade()}`)],
    ])('is not made when the upgrade comes while Nix %s', async (_, replaceNix) => {
      replaceNix()
      await recordNixStart(machine(), run)
      expect(existsSync(record())).toBe(false)
      program('nix', 'echo "system = x86_64-linux"')
      await recordNixStart(machine(), run)
      expect(readFileSync(record(), 'utf8')).toContain("nix_version='2.9.0'")
    })

    it('is not made when settings name another file by then', async () => {
      const conf = join(root, 'etc/nix/nix.conf')
      writeFileSync(conf, debianConf)
      program('nix', `echo "system = x86_64-linux"\necho '!include local.conf' >> '${conf}'`)
      await recordNixStart(machine(), run)
      expect(existsSync(record())).toBe(false)
      writeFileSync(conf, debianConf)
    })
  })

  it('has the systems that Nix builds for, its own first', async () => {
    writeFileSync(join(root, 'etc/nix/nix.conf'), `${debianConf}\nextra-platforms = riscv64-linux\n`)
    await wanted().apply(real, run)
    expect(readFileSync(record(), 'utf8')).toMatch(/^nix_systems='\w+-linux\nriscv64-linux'$/m)
    writeFileSync(join(root, 'etc/nix/nix.conf'), debianConf)
  })

  it('has the files that nix.conf includes', async () => {
    writeFileSync(join(root, 'etc/nix/nix.conf'), `${debianConf}\n!include local.conf\n`)
    await wanted().apply(real, run)
    mark()
    expect(await versionIn()).toBe('recorded')
    writeFileSync(join(root, 'etc/nix/local.conf'), 'max-jobs = many\n')
    expect(await versionIn()).toBeUndefined()
    rmSync(join(root, 'etc/nix/local.conf'))
    writeFileSync(join(root, 'etc/nix/nix.conf'), debianConf)
  })
})

describe('the nix task', () => {
  it('is wanted on every Debian machine, and not on NixOS', () => {
    expect(bindTask(nixTask)({ ...taskMachine(), definition: nixosMachine() })).toBeUndefined()
    expect(wanted()).toMatchObject({ stage: 'bootstrap', packages: ['nix-bin', 'nix-setup-systemd'] })
  })
})
