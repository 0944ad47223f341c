import { chmodSync, copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { LocalCommands } from '../core/context.js'
import { failure } from '../core/errors.js'
import type { Run } from '../core/run.js'
import { targetFile, valueLine } from '../core/target-file.js'
import type { ImageFile } from './debian-files.js'
import { makeScratch, removeScratch } from './folder.js'
import { type ImageCommandOptions, imageCommand } from './image-command.js'
import type { DebianRecipe } from './recipe.js'

export interface DebianBuild {
  readonly local: Pick<LocalCommands, 'run'>
  readonly recipe: DebianRecipe
  /** An empty folder of hydra-ops for the files of the image. */
  readonly folder: string
  /** Lines of a sources.list; undefined for mmdebstrap's default. */
  readonly sources: string | undefined
  /** Whether this process is root and needs no user namespace. */
  readonly root: boolean
}

/** The deadline of the bootstrap, which downloads many packages, possibly over a slow connection. */
const bootstrapMs = 20 * 60_000
const packMs = 5 * 60_000

/** Returns the names of the files that QEMU loads from outside the disk; GRUB loads its files from the disk. */
export function filesBesideDisk({ loader }: DebianRecipe): { kernel?: string; initrd?: string } {
  return loader === 'qemu' ? { kernel: 'kernel', initrd: 'initrd' } : {}
}

/** Builds the image; returns the date of its package index, as `20261120T021110Z`. */
export async function buildDebian(build: DebianBuild, run: Run): Promise<string> {
  const work = join(build.folder, 'work')
  mkdirSync(work)
  // The namespace's users write to this folder, and they count as other users outside. The parent folders keep all
  // other users out.
  chmodSync(work, 0o777)
  await archive(build, 'early', build.recipe.earlyFiles, run)
  await archive(build, 'files', build.recipe.files, run)
  await bootstrap(build, makeScratch(build.folder), run)
  await removeScratch(build.local, build.folder)
  chmodSync(join(work, 'rootfs.tar'), 0o644)
  await pack(build, run)
  run.log('converting to qcow2')
  await must(build, ['qemu-img', 'convert', '-O', 'qcow2', 'work/disk.raw', 'disk.qcow2'], packMs, run)
  const beside = Object.values(filesBesideDisk(build.recipe))
  // A user of the namespace owns the originals, so the files are copied.
  for (const name of beside) copyFileSync(join(work, name), join(build.folder, name))
  const dates = readFileSync(join(work, 'index-dates'), 'utf8')
  for (const name of ['early.tar', 'files.tar']) rmSync(join(build.folder, name))
  rmSync(work, { recursive: true })
  for (const name of ['disk.qcow2', ...beside]) chmodSync(join(build.folder, name), 0o444)
  return newestDate(dates)
}

/** Archives files without directories, so that existing directories of the system keep their owner and mode. */
async function archive(
  build: DebianBuild,
  name: string,
  files: readonly ImageFile[],
  run: Run,
): Promise<void> {
  const tree = join(build.folder, name)
  for (const file of files) {
    const path = join(tree, file.path)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, file.text)
  }
  const owner = ['--owner=0', '--group=0', '--numeric-owner', '--mode=0644', '--mtime=@0']
  const names = files.map((file) => file.path.slice(1))
  await must(build, ['tar', ...owner, '-C', tree, '-cf', `${name}.tar`, ...names], packMs, run)
  rmSync(tree, { recursive: true })
}

/** Runs mmdebstrap. Its hooks run inside the namespace, but `tar-in` reads hydra-ops's files outside the namespace. */
async function bootstrap(build: DebianBuild, scratch: string, run: Run): Promise<void> {
  const { recipe, sources } = build
  run.log(`installing Debian ${recipe.suite}: ${recipe.packages.length} packages and their dependencies`)
  await must(
    build,
    [
      'mmdebstrap',
      build.root ? '--mode=root' : '--mode=unshare',
      '--variant=minbase',
      ...['APT::Install-Recommends "false"', 'Acquire::Languages "none"'].map(
        (option) => `--aptopt=${option}`,
      ),
      ...[...['man', 'locale', 'doc'].map((folder) => `/usr/share/${folder}/*`), ...recipe.leftOut].map(
        (pattern) => `--dpkgopt=path-exclude=${pattern}`,
      ),
      '--dpkgopt=path-include=/usr/share/doc/*/copyright',
      `--include=${recipe.packages.join(',')}`,
      '--essential-hook=tar-in early.tar /',
      '--customize-hook=tar-in files.tar /',
      `--customize-hook=chroot "$1" sh -euc ${quote(recipe.configure)}`,
      '--customize-hook=sed -n "s/^Date: //p" "$1"/var/lib/apt/lists/*Release > "$1"/index-dates',
      recipe.suite,
      'work/rootfs.tar',
      ...(sources === undefined ? [] : ['-']),
    ],
    bootstrapMs,
    run,
    { env: { TMPDIR: scratch }, ...(sources === undefined ? {} : { stdin: sources }) },
  )
}

/** Quotes a string for the shell that runs a hook. The string comes from a recipe, never from a user. */
function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}

async function pack(build: DebianBuild, run: Run): Promise<void> {
  run.log('creating the file system')
  const { virtualBytes, loader, cmdline } = build.recipe
  const values = Object.entries({ size: virtualBytes, loader, label: 'root', cmdline, store: '' })
    .map(valueLine)
    .join('')
  const script = ['sh', '-euc', values + targetFile('pack-image.sh')]
  const argv = build.root ? script : ['mmdebstrap', '--unshare-helper', ...script]
  await must({ ...build, folder: join(build.folder, 'work') }, argv, packMs, run)
}

function must(
  { local, recipe: { name }, folder }: DebianBuild,
  argv: readonly string[],
  timeoutMs: number,
  run: Run,
  extra: Omit<ImageCommandOptions, 'timeoutMs'> = {},
): Promise<void> {
  const hint =
    'check that the Debian mirror is reachable, or set another with DEBIAN_MIRROR=URL; see hydra-ops doctor'
  return imageCommand({ local, name, folder, hint, space: '2.5 GiB' }, argv, { timeoutMs, ...extra }, run)
}

/** Returns the newest of the Release files' `Date:` lines. */
export function newestDate(lines: string): string {
  const times = lines
    .split('\n')
    .map((line) => Date.parse(line))
    .filter((time) => !Number.isNaN(time))
  if (times.length === 0) throw failure('IMAGE_BUILD', 'the package index has no date')
  return new Date(Math.max(...times)).toISOString().replaceAll(/[-:]|\.\d+/g, '')
}
