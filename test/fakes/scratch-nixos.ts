import { execFileSync, spawn, spawnSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { StorePath } from '../../src/core/names.js'
import { type MadeSystem, systemFiles, systemPath } from '../fixtures/nixos-system/nixos-system.js'
import { LocalShellHost } from './local-shell-host.js'

/** Programs that a system's `sw/bin` has, besides the stand-ins. */
const programs = [
  'bash',
  'sh',
  'cat',
  'cmp',
  'cp',
  'cut',
  'date',
  'echo',
  'find',
  'grep',
  'head',
  'ln',
  'ls',
  'mkdir',
  'mv',
  'pkill',
  'readlink',
  'iconv',
  'sha256sum',
  'stat',
  'rm',
  'rmdir',
  'sed',
  'sleep',
  'sort',
  'timeout',
  'tr',
]

/** Folders of a machine that lie in the scratch folder instead. */
const moved = [
  '/nix/store/',
  '/nix/var/nix/',
  '/run/current-system',
  '/run/booted-system',
  '/run/nixos/',
  '/run/systemd/start',
  '/run/systemd/restart',
  '/run/systemd/reload',
  '/var/lib/hydra-ops',
  '/var/log/hydra-ops',
  '/boot/grub',
  '/boot/loader',
  '/boot/EFI',
  '/etc/nix/nix.conf',
  '/etc/os-release',
  '/etc/systemd/system.control',
  '/etc/systemd/system/hydra-ops',
  '/proc/cmdline',
  '/sys/dev/block',
  '/sys/firmware/efi',
]

/** Returns the file of a variable of systemd-boot. */
const variablePath = (name: string) => `sys/firmware/efi/efivars/${name}-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f`

/**
 * A scratch folder that looks like a NixOS machine to hydra-ops's scripts, with stand-ins for systemd, nix-env and
 * sync. The stand-in for systemd-run starts nothing: tests run the scripts that a unit would run.
 */
export class ScratchNixos {
  readonly folder = mkdtempSync(join(tmpdir(), 'hydra-ops-nixos-'))
  readonly host: LocalShellHost

  constructor() {
    for (const path of [
      'bin',
      'answers',
      'nix/store',
      'nix/var/nix/profiles',
      'run',
      'var/log',
      'boot',
      'etc/nix',
      'var/lib',
      'sys/dev/block/254:1',
    ]) {
      mkdirSync(this.path(path), { recursive: true })
    }
    this.write(
      'etc/os-release',
      'ID=nixos\nPRETTY_NAME="NixOS 24.11 (made up)"\nVERSION_ID="24.11"\nBUILD_ID="24.11.abc"\n',
    )
    this.write('proc/cmdline', 'BOOT_IMAGE=/vmlinuz init=/somewhere/init\n')
    this.tool('sync', 'exit 0')
    this.tool(
      'tail',
      `case "$*" in */efivars/*) echo 'tail: cannot seek in a variable: Illegal seek' >&2; exit 1 ;; esac
exec ${execFileSync('which', ['tail'], { encoding: 'utf8' }).trim()} "$@"`,
    )
    this.tool(
      'findmnt',
      `[ "$1 $3" = '-no -T' ] || { echo "findmnt: unexpected: $*" >&2; exit 1; }
case $4 in /etc | */var/lib | */var/lib/hydra-ops | /boot | */efivars) ;; *) echo "findmnt: unexpected: $*" >&2; exit 1 ;; esac
[ -e "$4" ] || exit 1
f='${this.folder}'/answers/findmnt-\${4##*/}-$2
[ -e "$f" ] && { cat "$f"; exit; }
case $4,$2 in */efivars,FSTYPE) echo efivarfs; exit ;; */efivars,OPTIONS) echo rw,nosuid,nodev,noexec,relatime; exit ;; esac
case $2 in FSTYPE) [ ! -e "$f" ] || { cat "$f"; exit; }; echo ext4 ;; MAJ:MIN) echo 254:1 ;; *) exit 1 ;; esac`,
    )
    this.tool(
      'grub-editenv',
      `echo "grub-editenv $*" >> '${this.folder}/calls'
[ ! -e '${this.folder}/answers/no-editenv' ] || { echo 'grub-editenv: error: cannot write' >&2; exit 1; }
file=$1 name=\${3%%=*}
[ -e "$file" ] || echo '# GRUB Environment Block' > "$file"
case $2 in
  set) sed "/^$name=/d" "$file" > "$file.new"; printf '%s\n' "$3" >> "$file.new"; mv "$file.new" "$file" ;;
  unset) sed "/^$name=/d" "$file" > "$file.new"; mv "$file.new" "$file" ;;
  list) sed 1d "$file" ;;
  *) echo "grub-editenv: error: Unknown command '$2'." >&2; exit 1 ;;
esac`,
    )
    this.tool(
      'bootctl',
      `echo "bootctl $*" >> '${this.folder}/calls'
[ "$1" = set-oneshot ] && [ $# = 2 ] || { echo "bootctl: unexpected: $*" >&2; exit 1; }
[ -e '${this.path(variablePath('LoaderInfo'))}' ] || { echo 'Not booted with a supported boot loader.' >&2; exit 1; }
f='${this.path(variablePath('LoaderEntryOneShot'))}'
if [ -e '${this.folder}/answers/findmnt-efivars-OPTIONS' ]; then
  [ -n "$2" ] && verb=update || verb=remove
  echo "Failed to $verb EFI variable '\${f##*/}': Read-only file system" >&2
  exit 1
fi
if [ -z "$2" ]; then rm -f "$f"; else { printf '\\007\\0\\0\\0'; printf '%s\\0' "$2" | iconv -f UTF-8 -t UTF-16LE; } > "$f"; fi`,
    )
    this.tool(
      'systemd-run',
      `echo "due=\${due-} systemd-run $*" >> '${this.folder}/calls'\n[ ! -e '${this.folder}/answers/no-systemd-run' ]`,
    )
    this.tool(
      'systemctl',
      `echo "systemctl $*" >> '${this.folder}/calls'
verb=$1
case "$*" in 'show -p UnitPath --value')
  f='${this.folder}'/answers/unit-path; [ ! -e "$f" ] || { cat "$f"; exit; }
  echo "/run/systemd/system.control ${this.folder}/etc/systemd/system.control /etc/systemd/system"; exit ;;
esac
case $verb in
  list-units|show) f='${this.folder}'/answers/$verb; [ "$verb $3" != 'show SubState' ] || f=$f-substate; [ ! -e "$f" ] || cat "$f" ;;
  is-active) shift; for each do case $each in --quiet) ;; *) [ -e '${this.folder}'/answers/active-$each ] && exit 0 ;; esac; done; exit 3 ;;
  is-failed) exit 1 ;;
  start) [ ! -e '${this.folder}/answers/no-start' ] ;;
esac`,
    )
    this.tool(
      'nix-env',
      `echo "nix-env $*" >> '${this.folder}/calls'
[ ! -e '${this.folder}/answers/no-set' ] || { echo 'error: disk full' >&2; exit 1; }
profile=$2 base=\${2##*/}
case $3 in
  --set) last=$(ls "\${profile%/*}" | sed -n "s/^$base-\\([0-9]*\\)-link$/\\1/p" | sort -n | tail -n 1)
    # Nix creates no generation if the last generation has this system.
    if [ "$(readlink "$profile-$last-link")" = "$4" ]; then n=$last
    else n=$((\${last:-0} + 1)); ln -s "$4" "$profile-$n-link"; fi ;;
  --switch-generation) n=$4 ;;
esac
ln -sfnT "\${profile##*/}-$n-link" "$profile"`,
    )
    this.host = new LocalShellHost({
      bin: this.path('bin'),
      moved: Object.fromEntries(moved.map((path) => [path, this.path(path)])),
    })
  }

  dispose(): void {
    rmSync(this.folder, { recursive: true, force: true })
  }

  /** Returns the path on this host for a path of the machine. */
  path(path: string): string {
    return join(this.folder, path)
  }

  write(path: string, text: string, mode = 0o644): void {
    mkdirSync(dirname(this.path(path)), { recursive: true })
    // The path may be a link to a program of this host, which must not be overwritten.
    rmSync(this.path(path), { force: true })
    writeFileSync(this.path(path), text)
    chmodSync(this.path(path), mode)
  }

  /** Returns the text of a file without trailing whitespace; undefined for a missing file. */
  read(path: string): string | undefined {
    return existsSync(this.path(path)) ? readFileSync(this.path(path), 'utf8').trimEnd() : undefined
  }

  list(path: string): string[] {
    return existsSync(this.path(path)) ? readdirSync(this.path(path)).sort() : []
  }

  exists(path: string): boolean {
    return lstatSync(this.path(path), { throwIfNoEntry: false }) !== undefined
  }

  remove(path: string): void {
    rmSync(this.path(path), { force: true, recursive: true })
  }

  /** Prepares the answer of a stand-in: `show`, `list-units`, `active-UNIT`, `no-systemd-run`, `no-start`, `no-set`. */
  answer(name: string, text = ''): void {
    this.write(`answers/${name}`, text)
  }

  /** Creates a system in the machine's store; returns its store path. */
  system(name: string, made: MadeSystem = {}): StorePath {
    const path = systemPath(name)
    for (const [file, text] of Object.entries(systemFiles(made, this.folder))) {
      this.write(`${path}/${file}`, text, file.startsWith('bin/') || file === 'init' ? 0o755 : 0o644)
    }
    const bin = this.path(`${path}/sw/bin`)
    mkdirSync(bin, { recursive: true })
    for (const each of programs)
      symlinkSync(execFileSync('which', [each], { encoding: 'utf8' }).trim(), join(bin, each))
    for (const each of this.list('bin')) symlinkSync(this.path(`bin/${each}`), join(bin, each))
    return StorePath.parse(path)
  }

  /** Makes a system the running system. A `kept` system is also the booted system and a generation of the profile. */
  run(path: StorePath, kept = true): void {
    for (const link of ['run/current-system', ...(kept ? ['run/booted-system'] : [])]) {
      rmSync(this.path(link), { force: true })
      symlinkSync(this.path(path), this.path(link))
    }
    if (kept)
      spawnSync(this.path('bin/nix-env'), [
        '-p',
        this.path('nix/var/nix/profiles/system'),
        '--set',
        this.path(path),
      ])
  }

  /** Writes the boot menu of a system, as its switch-to-configuration does. */
  makeMenu(path: StorePath): void {
    execFileSync(this.path(`${path}/bin/switch-to-configuration`), ['boot'])
  }

  /** Returns a variable of the machine's firmware. */
  variable(name: string): string | undefined {
    const file = this.path(variablePath(name))
    if (!existsSync(file)) return undefined
    return readFileSync(file).subarray(4).toString('utf16le').replaceAll('\0', '')
  }

  /** Sets a variable of the firmware, as systemd-boot and bootctl do. */
  setVariable(name: string, text: string): void {
    this.write(variablePath(name), '')
    const attributes = Buffer.from([7, 0, 0, 0])
    writeFileSync(
      this.path(variablePath(name)),
      Buffer.concat([attributes, Buffer.from(`${text}\0`, 'utf16le')]),
    )
  }

  /**
   * Boots the machine as systemd-boot does. An entry for one boot is removed first, and a missing entry counts as none.
   * An entry with a counter loses a try. Returns the system and its kernel parameters.
   */
  bootBySystemdBoot(version = '262.1-1'): { readonly system: string; readonly words: string } {
    const folder = 'boot/loader/entries'
    const idOf = (name: string) => name.replace(/(\+\d+(-\d+)?)?\.conf$/, '.conf')
    const once = this.variable('LoaderEntryOneShot')
    this.remove(variablePath('LoaderEntryOneShot'))
    this.setVariable('LoaderInfo', `systemd-boot ${version}`)
    const settings = this.read('boot/loader/loader.conf') ?? ''
    const word = (name: string) => new RegExp(`^${name} (.*)$`, 'm').exec(settings)?.[1]
    const preferred = Number.parseInt(version, 10) >= 260 ? word('preferred') : undefined
    const entries = this.list(folder).filter((name) => name.endsWith('.conf'))
    const wishes = [once, preferred, this.variable('LoaderEntryDefault'), word('default')]
    const [entry] = wishes.flatMap((wish) => entries.filter((name) => idOf(name) === wish))
    if (entry === undefined) throw new Error('systemd-boot finds no entry to boot')
    const counter = /\+(\d+)(?:-(\d+))?\.conf$/.exec(entry)
    const [, path = '', words = ''] =
      /^options init=(\S+)\/init(.*)/m.exec(this.read(`${folder}/${entry}`) ?? '') ?? []
    if (counter !== null) {
      const [, left = '', done = '0'] = counter
      const counted = `+${Math.max(0, Number(left) - 1)}-${Number(done) + 1}.conf`
      renameSync(
        this.path(`${folder}/${entry}`),
        this.path(`${folder}/${idOf(entry).replace('.conf', counted)}`),
      )
    }
    return this.enter(path, words)
  }

  /**
   * Boots the machine as GRUB does. A `next_entry` is used once; otherwise the first entry is used. Returns the system
   * and its kernel parameters.
   */
  boot(): { readonly system: string; readonly words: string } {
    const environment = this.read('boot/grub/grubenv') ?? ''
    const once = /^next_entry=(.+)>0$/m.exec(environment)?.[1]
    this.write('boot/grub/grubenv', environment.replace(/^next_entry=.*$/m, 'next_entry='))
    const menu = this.read('boot/grub/grub.cfg') ?? ''
    const from = once === undefined ? 0 : menu.indexOf(`submenu "${once}"`)
    const [, path = '', words = ''] = /linux .* init=(\S+)\/init(.*)/.exec(menu.slice(from)) ?? []
    if (from < 0) throw new Error('GRUB finds no entry to boot')
    return this.enter(path, words)
  }

  private enter(path: string, words: string): { readonly system: string; readonly words: string } {
    const system = path.replace(this.folder, '')
    if (path === '' || !this.exists(system)) throw new Error('the boot loader finds no system to boot')
    for (const link of ['run/current-system', 'run/booted-system']) {
      rmSync(this.path(link), { force: true })
      symlinkSync(this.path(system), this.path(link))
    }
    this.write('proc/cmdline', `BOOT_IMAGE=/vmlinuz init=${path}/init${words}\n`)
    return { system, words }
  }

  /** Returns the path on the machine that a link leads to. */
  target(link: string): string | undefined {
    if (!this.exists(link)) return undefined
    return execFileSync('readlink', ['-f', this.path(link)], { encoding: 'utf8' })
      .trim()
      .replace(this.folder, '')
  }

  link(path: string): string {
    return readlinkSync(this.path(path))
  }

  /** Runs a script that was placed on the machine, as its unit does. */
  runPlaced(
    old: StorePath,
    file: string,
    env: Readonly<Record<string, string>> = {},
  ): Promise<{ code: number | null; output: string }> {
    const child = spawn(this.path(`${old}/sw/bin/bash`), [this.path(file)], {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let output = ''
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text) => {
        output += text
      })
    return new Promise((done, fail) => {
      child.once('error', fail)
      child.once('close', (code) => done({ code, output }))
    })
  }

  calls(): string[] {
    return (this.read('calls') ?? '').split('\n').filter((line) => line !== '')
  }

  /** Lists the runs of switch-to-configuration: system and action. */
  switches(): string[] {
    return (this.read('var/log/stand-in-switches') ?? '')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => line.replace(/^\S*-nixos-system-/, ''))
  }

  private tool(name: string, body: string): void {
    this.write(`bin/${name}`, `#!/bin/sh\n${body}\n`, 0o755)
  }
}
