import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'

export const activationProgram = resolve('nix/target/hydra-ops/activate.pl')
const standIns = resolve('test/fakes/target-tools')

/** The options of a test's closure, which nix/debian-profile.nix writes as records. */
export interface WantedMachine {
  readonly files?: Readonly<
    Record<string, string | { text?: string; source?: string; mode?: string; user?: string }>
  >
  readonly units?: Readonly<Record<string, { text: string; enable?: boolean; trigger?: string }>>
  /** The names of programs in bin. */
  readonly programs?: readonly string[]
  readonly hosts?: readonly (readonly [address: string, names: string])[]
  readonly apt?: readonly string[]
  /** The text of bin/activate. */
  readonly activate?: string
}

/** A scratch folder for the activation program, with stand-ins for systemctl, nix-env, apt-get and sync. */
export class ScratchMachine {
  readonly folder = mkdtempSync(join(tmpdir(), 'hydra-ops-scratch-'))
  readonly root = join(this.folder, 'root')
  private closures = 0

  constructor() {
    for (const path of ['etc/systemd/system', 'usr/local/bin', 'usr/local/sbin', 'var/lib', 'run']) {
      mkdirSync(join(this.root, path), { recursive: true })
    }
    mkdirSync(join(this.folder, 'standin/packages'), { recursive: true })
  }

  dispose(): void {
    rmSync(this.folder, { recursive: true, force: true })
  }

  /** Creates another machine in the same state. */
  copy(): ScratchMachine {
    const copy = new ScratchMachine()
    for (const part of ['root', 'standin']) {
      rmSync(join(copy.folder, part), { recursive: true })
      cpSync(join(this.folder, part), join(copy.folder, part), {
        recursive: true,
        verbatimSymlinks: true,
        preserveTimestamps: true,
      })
    }
    return copy
  }

  closure(wanted: WantedMachine): string {
    this.closures += 1
    const out = join(this.folder, `closure-${this.closures}`)
    mkdirSync(join(out, 'bin'), { recursive: true })
    for (const program of wanted.programs ?? []) writeFileSync(join(out, 'bin', program), '')
    if (wanted.activate !== undefined) {
      mkdirSync(join(out, 'act/bin'), { recursive: true })
      writeFileSync(join(out, 'act/bin/activate'), wanted.activate)
      chmodSync(join(out, 'act/bin/activate'), 0o755)
    }
    writeFileSync(join(out, 'manifest.nix'), manifestText(recordsOf(wanted, join(out, 'act'))))
    return out
  }

  environment(): Record<string, string> {
    return {
      PATH: `${standIns}:${process.env.PATH}`,
      STANDIN_ROOT: this.root,
      STANDIN: join(this.folder, 'standin'),
    }
  }

  activate(closure: string, ...args: string[]) {
    const argv = [activationProgram, closure, '--root', this.root, '--settle', '1', ...args]
    const result = spawnSync('perl', argv, { env: this.environment(), encoding: 'utf8', timeout: 60_000 })
    return { code: result.status, signal: result.signal, output: result.stdout, stderr: result.stderr }
  }

  path(path: string): string {
    return join(this.root, path)
  }

  write(path: string, text: string, mode = 0o644): void {
    mkdirSync(dirname(this.path(path)), { recursive: true })
    writeFileSync(this.path(path), text)
    chmodSync(this.path(path), mode)
  }

  read(path: string): string {
    return readFileSync(this.path(path), 'utf8')
  }

  exists(path: string): boolean {
    return lstatSync(this.path(path), { throwIfNoEntry: false }) !== undefined
  }

  /** Returns the recorded state of a unit (`active`, `boot` …), and its text at the last start. */
  unit(name: string): Record<string, string> {
    const file = join(this.folder, 'standin/units', name)
    const lines = existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : []
    const unit = Object.fromEntries(lines.map((line) => line.split(/=(.*)/s).slice(0, 2) as [string, string]))
    return { ...unit, started: Buffer.from(unit.started ?? '', 'hex').toString() }
  }

  /** Sets a unit's state, as after a manual stop or a failure. */
  setUnit(name: string, active: 'inactive' | 'failed'): void {
    const file = join(this.folder, 'standin/units', name)
    writeFileSync(file, readFileSync(file, 'utf8').replace(/^active=.*/m, `active=${active}`))
  }

  remove(path: string): void {
    rmSync(this.path(path))
  }

  installPackage(name: string, takesAlong = ''): void {
    writeFileSync(join(this.folder, 'standin/packages', name), takesAlong)
  }

  packages(): string[] {
    return readdirSync(join(this.folder, 'standin/packages')).sort()
  }

  calls(): string[] {
    const file = join(this.folder, 'standin/calls')
    return existsSync(file) ? readFileSync(file, 'utf8').trimEnd().split('\n') : []
  }

  forgetCalls(): void {
    rmSync(join(this.folder, 'standin/calls'), { force: true })
  }

  /** Lists all files below the root except the program's own record: path → type, mode, content. */
  tree(): Record<string, string> {
    const found: Record<string, string> = {}
    const walk = (path: string) => {
      for (const name of readdirSync(this.path(path)).sort()) {
        const each = `${path}/${name}`
        const stat = lstatSync(this.path(each))
        const mode = (stat.mode & 0o7777).toString(8)
        if (stat.isSymbolicLink()) found[each] = `-> ${readlinkSync(this.path(each))}`
        else if (stat.isFile()) found[each] = `${mode} ${readFileSync(this.path(each), 'utf8')}`
        else found[each] = `${mode} folder`
        if (stat.isDirectory()) walk(each)
      }
    }
    for (const top of ['/etc', '/usr', '/opt']) if (this.exists(top)) walk(top)
    return found
  }
}

export function manifestText(records: readonly (readonly string[])[]): string {
  const lines = records.map((record) => `${JSON.stringify(record)}\n`).join('')
  return `${lines}${JSON.stringify(['end', String(Buffer.byteLength(lines))])}\n`
}

function recordsOf(wanted: WantedMachine, activate: string): string[][] {
  const files = Object.entries(wanted.files ?? {}).map(([path, given]) => {
    const file = typeof given === 'string' ? { text: given } : given
    const { mode = '0644', user = 'root', text, source } = file
    return [source === undefined ? 'file' : 'source', path, mode, user, 'root', source ?? text ?? '']
  })
  const units = Object.entries(wanted.units ?? {}).map(([name, unit]) => [
    'unit',
    name,
    unit.enable === false ? '' : 'enable',
    unit.text,
    unit.trigger ?? '',
  ])
  return [
    ...files,
    ...units,
    ...(wanted.apt ?? []).map((name) => ['apt', name]),
    ...(wanted.hosts ?? []).map(([address, names]) => ['host', address, names]),
    ...(wanted.activate === undefined ? [] : [['activate', activate]]),
  ]
}
