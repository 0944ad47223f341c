import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { hydraFacts, packageRecord, packageRecordFile } from '../../../src/setup/hydra/package-facts.js'
import { nixRecordFile } from '../../../src/setup/nix-start.js'
import { LocalShellHost } from '../../fakes/local-shell-host.js'
import { taskRun } from '../../fakes/task-run.js'
import { StandIns } from '../../hydra/stand-in-packages.js'

const standIns = new StandIns()
let folder: string
let host: LocalShellHost

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'hydra-ops-facts-'))
  // The stand-in for runuser keeps the tester's user.
  program('machine', 'runuser', 'while [ "$1" != -- ]; do shift; done; shift; exec "$@"')
  host = new LocalShellHost({ bin: join(folder, 'machine/bin') })
  await standIns.build('hydra', 'hydra-database-url')
})
afterAll(() => {
  standIns.nix.dispose()
  rmSync(folder, { recursive: true, force: true })
})

/** Puts a program that runs one line of sh into a package of this test. */
function program(name: string, file: string, line: string): void {
  const path = join(folder, name, 'bin', file)
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, `#!/bin/sh\n${line}\n`)
  chmodSync(path, 0o755)
}

/** Joins packages like nixpkgs' symlinkJoin: new folders with links to the files of several packages. */
function joined(name: string, ...sources: readonly string[]): string {
  const path = join(folder, name)
  const link = (from: string, to: string) => {
    mkdirSync(to, { recursive: true })
    for (const entry of readdirSync(from, { withFileTypes: true })) {
      if (entry.isDirectory()) link(join(from, entry.name), join(to, entry.name))
      else symlinkSync(join(from, entry.name), join(to, entry.name))
    }
  }
  for (const source of sources) link(source, path)
  return path
}

const packageOf = (name: 'hydra' | 'hydra-database-url') => dirname(standIns.bin(name))
const facts = (path: string) => hydraFacts(host, path, taskRun())

describe('a package of Hydra', () => {
  it('is recognised when its queue runner goes to builders', async () => {
    expect(await facts(packageOf('hydra'))).toMatchObject({
      database: 'dbi',
      runner: 'goes-to-builders',
      evaluatorSettings: 'hydra.conf',
    })
  })

  it('is recognised when builders connect to its queue runner', async () => {
    const found = await facts(packageOf('hydra-database-url'))
    expect(found).toMatchObject({
      database: 'url',
      runner: 'takes-builders',
      builderSettings: 'file',
      evaluatorSettings: 'hydra.conf',
    })
    expect([...found.programs]).toContain('hydra-builder')
  })

  it('is recognised as the sum of its parts when it was joined from several packages', async () => {
    program('apart', 'hydra-queue-runner', 'echo "  -g, --grpc-bind <GRPC_BIND>"')
    program('apart', 'hydra-builder', 'echo "  --gateway-endpoint <X>"; echo "  --max-jobs <N>"')
    const older = joined('older', packageOf('hydra'))
    rmSync(join(older, 'bin/hydra-queue-runner'))
    expect(await facts(joined('older', join(folder, 'apart')))).toMatchObject({
      database: 'dbi',
      runner: 'takes-builders',
      builderSettings: 'options',
    })
  })

  it('is recognised when its evaluator has settings of its own', async () => {
    program('own-evaluator', 'hydra-evaluator', 'echo "      --config-path <CONFIG_PATH>"')
    const newer = joined('newer', packageOf('hydra-database-url'))
    rmSync(join(newer, 'bin/hydra-evaluator'))
    expect(await facts(joined('newer', join(folder, 'own-evaluator')))).toMatchObject({
      database: 'url',
      evaluatorSettings: 'file',
    })
  })

  it('is asked for its options without any variable of ours in the environment', async () => {
    const careless = joined('careless', packageOf('hydra'))
    rmSync(join(careless, 'bin/hydra-evaluator'))
    program('curious', 'hydra-evaluator', 'env | grep -q LC_ALL && echo "--config-path"; true')
    expect(await facts(joined('careless', join(folder, 'curious')))).toMatchObject({
      evaluatorSettings: 'hydra.conf',
    })
  })

  it('is refused without the parts that are separate packages, with the way to join them', async () => {
    const alone = joined('alone', packageOf('hydra-database-url'))
    rmSync(join(alone, 'bin/hydra-builder'))
    await expect(facts(alone)).rejects.toMatchObject({
      code: 'PACKAGE',
      message: expect.stringContaining('it lacks hydra-builder'),
      hint: expect.stringContaining('pkgs.symlinkJoin'),
    })
  })
})

describe('the set of programs of a package', () => {
  let root: string
  const file = (path: string, text: string, mode = 0o644) => {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), text, { mode })
  }
  beforeEach(() => {
    root = mkdtempSync(join(folder, 'package-'))
    for (const each of ['init', 'server', 'evaluator', 'queue-runner', 'create-user'])
      file(`bin/hydra-${each}`, '#!/bin/sh\n', 0o755)
  })

  it('identifies the package', async () => {
    file('bin/hydra-notify', '#!/bin/sh\n', 0o755)
    file('bin/other', '#!/bin/sh\n', 0o755)
    const { programs } = await facts(root)
    expect([...programs].sort()).toEqual([
      ...['hydra-create-user', 'hydra-evaluator', 'hydra-init', 'hydra-notify'],
      ...['hydra-queue-runner', 'hydra-server'],
    ])
  })

  it('is refused without hydra-create-user, and the missing program is named', async () => {
    rmSync(join(root, 'bin/hydra-create-user'))
    await expect(facts(root)).rejects.toMatchObject({
      code: 'PACKAGE',
      message: `machine 'local': ${root} is not a complete package of Hydra: it lacks hydra-create-user`,
      hint: expect.stringContaining('deployment.hydra.package'),
    })
  })

  it('is refused when one of them may not be executed', async () => {
    chmodSync(join(root, 'bin/hydra-init'), 0o644)
    await expect(facts(root)).rejects.toThrow('it lacks hydra-init')
  })

  it('is refused in another kind of package, with the names of all missing programs', async () => {
    rmSync(join(root, 'bin'), { recursive: true })
    await expect(facts(root)).rejects.toThrow(
      'it lacks hydra-init, hydra-server, hydra-evaluator, hydra-queue-runner, hydra-create-user',
    )
  })
})

describe('the examination of a package in the Nix store', () => {
  const path = '/nix/store/00000000000000000000000000000000-hydra'
  let root: string
  let machine: LocalShellHost
  const calls = () =>
    existsSync(join(root, 'calls')) ? readFileSync(join(root, 'calls'), 'utf8').trim().split('\n').length : 0
  const file = (name: string, line: string) => {
    mkdirSync(join(root, 'package/bin'), { recursive: true })
    writeFileSync(join(root, 'package/bin', name), `#!/bin/sh\n${line}\n`, { mode: 0o755 })
  }
  const look = (more: { anew?: boolean } = {}) => hydraFacts(machine, path, taskRun(), more)
  /** Writes the record as the task does, with the path of the test's package. */
  const record = async (given: Awaited<ReturnType<typeof look>>, of = path) => {
    const text = String(packageRecord(of, given)?.content)
    writeFileSync(join(root, 'record'), text.replaceAll(path, join(root, 'package')))
  }
  beforeEach(() => {
    root = mkdtempSync(join(folder, 'immutable-'))
    // The user who runs the programs must be able to enter the folder.
    chmodSync(root, 0o755)
    for (const each of ['init', 'server', 'evaluator', 'create-user', 'builder'])
      file(`hydra-${each}`, 'exit 1')
    file('hydra-queue-runner', `echo asked >> '${root}/calls'; echo "  --grpc-bind X"`)
    file('hydra-builder', 'echo "  --config-path X"')
    mkdirSync(join(root, 'package/lib/Hydra/Model'), { recursive: true })
    writeFileSync(join(root, 'package/lib/Hydra/Model/DB.pm'), 'HYDRA_DATABASE_URL\n')
    machine = new LocalShellHost({
      bin: join(folder, 'machine/bin'),
      moved: { [packageRecordFile]: join(root, 'record'), [path]: join(root, 'package') },
    })
  })

  it('is not repeated once its result is recorded', async () => {
    const first = await look()
    expect(first).toMatchObject({
      database: 'url',
      runner: 'takes-builders',
      builderSettings: 'file',
      sure: true,
    })
    expect(calls()).toBe(1)
    await record(first)
    expect(await look()).toEqual(first)
    expect(calls()).toBe(1)
  })

  it('is repeated when the task applies its settings, whatever is recorded', async () => {
    await record(await look())
    await look({ anew: true })
    expect(calls()).toBe(2)
  })

  it('is repeated for a package other than the recorded one', async () => {
    await record(await look(), '/nix/store/11111111111111111111111111111111-hydra')
    await look()
    expect(calls()).toBe(2)
  })

  it('is repeated when another version of hydra-ops made the record', async () => {
    await record(await look())
    const text = readFileSync(join(root, 'record'), 'utf8')
    writeFileSync(join(root, 'record'), text.replace(/ [0-9a-f]{16}\n/, ' 0123456789abcdef\n'))
    await look()
    expect(calls()).toBe(2)
  })

  it('does not hide that a program has gone since', async () => {
    await record(await look())
    rmSync(join(root, 'package/bin/hydra-server'))
    await expect(look()).rejects.toThrow('it lacks hydra-server')
  })

  it('has no record if a program was killed', async () => {
    file('hydra-queue-runner', 'echo "  --grpc-bind X"; kill -KILL $$')
    const found = await look()
    expect(found).toMatchObject({ runner: 'takes-builders', sure: false })
    expect(packageRecord(path, found)).toBeUndefined()
  })

  it('has no record for a folder outside of the Nix store', async () => {
    expect(packageRecord('/opt/hydra', await look())).toBeUndefined()
  })
})

describe('the systems that a machine builds for', () => {
  let root: string
  const file = (name: string) => join(root, name)
  const asked = () => existsSync(file('asked'))
  /** Puts a stand-in for `nix show-config`, whose lines are in alphabetical order. */
  const nix = (lines: string) =>
    writeFileSync(file('bin/nix'), `#!/bin/sh\ntouch '${file('asked')}'\nprintf '${lines}'\n`, {
      mode: 0o755,
    })
  /** Records the systems as `target/tasks/nix/record.sh` does. */
  const record = (systems: string) => {
    writeFileSync(file('nix.conf'), 'max-jobs = 1\n')
    const states = execFileSync('stat', ['-L', '-c', '%i %s %Y %Z %n', '--', file('nix.conf')], {
      encoding: 'utf8',
    })
    writeFileSync(
      file('record'),
      `nix_version='2.8.0'\nnix_files='${file('nix.conf')}'\nnix_states='${states.trim()}'\n${systems}`,
    )
  }
  const systems = async () => {
    const moved = { [nixRecordFile]: file('record') }
    return (await hydraFacts(new LocalShellHost({ bin: file('bin'), moved }), packageOf('hydra'), taskRun()))
      .systems
  }
  const told =
    'extra-platforms = aarch64-linux i686-linux\\nmax-jobs = 1\\nsystem = x86_64-linux\\nsystem-features = kvm\\n'
  const recorded = "nix_systems='x86_64-linux\nriscv64-linux'\n"

  beforeEach(() => {
    root = mkdtempSync(join(folder, 'systems-'))
    mkdirSync(file('bin'))
    symlinkSync(join(folder, 'machine/bin/runuser'), file('bin/runuser'))
    nix(told)
  })

  it('are its own and then those that it emulates, in the words of Nix', async () => {
    expect(await systems()).toEqual(['x86_64-linux', 'aarch64-linux', 'i686-linux', 'builtin'])
  })

  it('are its own alone when it emulates none', async () => {
    nix('extra-platforms = \\nsystem = x86_64-linux\\n')
    expect(await systems()).toEqual(['x86_64-linux', 'builtin'])
  })

  it('are asked again by its new name when Nix refuses the old name of the command', async () => {
    const refusal =
      "error: '\\''show-config'\\'' is not a recognised command\\nTry '\\''nix --help'\\'' for more information.\\n"
    writeFileSync(
      file('bin/nix'),
      `#!/bin/sh\ncase "$*" in *' config show') printf '${told}' ;; *) printf '${refusal}' >&2; exit 1 ;; esac\n`,
      { mode: 0o755 },
    )
    expect(await systems()).toEqual(['x86_64-linux', 'aarch64-linux', 'i686-linux', 'builtin'])
  })

  it('come from a record of Nix, which then does not start', async () => {
    record(recorded)
    expect(await systems()).toEqual(['x86_64-linux', 'riscv64-linux', 'builtin'])
    expect(asked()).toBe(false)
  })

  it.each<[string, () => void]>([
    ['a file of Nix has changed since', () => utimesSync(file('nix.conf'), 1, 1)],
    ['the record is an older one without systems', () => record('')],
  ])('are asked from Nix when %s', async (_, change) => {
    record(recorded)
    change()
    expect(await systems()).toEqual(['x86_64-linux', 'aarch64-linux', 'i686-linux', 'builtin'])
  })

  it('are those of the kernel when Nix fails', async () => {
    writeFileSync(file('bin/nix'), '#!/bin/sh\nexit 1\n', { mode: 0o755 })
    writeFileSync(file('bin/nix-instantiate'), '#!/bin/sh\nexit 1\n', { mode: 0o755 })
    const machine = execFileSync('uname', ['-m'], { encoding: 'utf8' }).trim()
    expect(await systems()).toEqual([`${machine}-linux`, 'builtin'])
  })
})
