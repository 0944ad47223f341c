import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, relative, sep } from 'node:path'
import { temporaryName } from '../../core/durable-file.js'
import { usageError } from '../../core/errors.js'
import { errnoOf, fsFailure } from '../../core/file-failure.js'
import { jobsFolder, writtenBy } from './written-by.js'

/** The name of the folder with hydra-ops's own files, below the folder with the jobs. */
const ownFolder = 'hydra-ops'

/** The file that is written first, because it shows that the folder belongs to hydra-ops. */
export const settingsFile = `${ownFolder}/settings.json`

/** Returns the root of the git checkout that contains the path; undefined if there is none. */
export function checkoutOf(path: string): string | undefined {
  if (existsSync(join(path, '.git'))) return path
  const parent = dirname(path)
  return parent === path ? undefined : checkoutOf(parent)
}

/** Returns the root of the git checkout that contains all files of a network; refuses several checkouts. */
export function checkoutOfAll(files: readonly string[]): string {
  const roots = files.map((file) => {
    const root = checkoutOf(file)
    if (root !== undefined) return { file, root }
    throw usageError(`the network expression ${file} is not in a git repository`, {
      hint: 'run git init in its folder, and commit its files; hydra-ops modify --no-from-git evaluates the files without git',
    })
  })
  const [first] = roots
  if (first === undefined) throw usageError('this deployment has no network expression')
  const other = roots.find(({ root }) => root !== first.root)
  if (other === undefined) return first.root
  throw usageError(`the network expressions are in two repositories, ${first.root} and ${other.root}`, {
    hint: 'an evaluation from git reads the files of only one repository',
  })
}

/** Tells whether a path lies in a folder, or is the folder itself. */
export function isWithin(folder: string, path: string): boolean {
  const way = relative(folder, path)
  return way === '' || (way !== '..' && !way.startsWith(`..${sep}`))
}

/**
 * Finds the folder that `hydra jobs init` wrote for a network. Searches from the network's file up to the checkout's
 * root.
 */
export function findJobs(file: string): string | undefined {
  const root = checkoutOf(file)
  for (let at = dirname(file); root !== undefined && isWithin(root, at); at = dirname(at)) {
    const folder = join(at, jobsFolder)
    if (existsSync(join(folder, 'machines.json'))) return folder
    if (at === dirname(at)) return undefined
  }
  return undefined
}

/** Changes that bring a folder to its wanted files; paths are relative to the folder. */
export interface Difference {
  readonly write: ReadonlyMap<string, string>
  readonly remove: readonly string[]
  /** Existing files that hydra-ops did not write and must not replace. */
  readonly foreign: readonly string[]
}

/** Compares a folder with its wanted files. A file without the sentence `writtenBy` does not belong to hydra-ops. */
export function compareJobs(folder: string, wanted: ReadonlyMap<string, string>): Difference {
  const differing = [...wanted].flatMap(([path, text]) => {
    const present = textOf(folder, path)
    return present === text ? [] : [{ path, text, present }]
  })
  const ours = ownsFolder(folder)
  const isForeign = (path: string, text: string) =>
    path.startsWith(`${ownFolder}/`) ? !ours : path !== 'spec.json' && !isOurs(text)
  const foreign = differing.flatMap(({ path, present }) =>
    present !== undefined && isForeign(path, present) ? [path] : [],
  )
  if (!ours && existsSync(join(folder, ownFolder))) foreign.push(ownFolder)
  const remove = [
    ...oldMachines(folder),
    ...drafts(folder, wanted),
    ...(ours ? oldOwnFiles(folder) : []),
  ].filter((path) => !wanted.has(path))
  return { write: new Map(differing.map(({ path, text }) => [path, text])), remove, foreign }
}

/** Returns a file's text; undefined if the file does not exist. */
export function textOf(folder: string, path: string): string | undefined {
  const file = join(folder, path)
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === 'ENOENT' || errno === 'ENOTDIR') return undefined
    throw fsFailure(error, 'read', file)
  }
}

function isOurs(text: string): boolean {
  return text.split('\n', 3).some((line) => line.includes(writtenBy))
}

/**
 * Tells whether hydra-ops created its own folder. A folder without a complete file is left over from a killed
 * command.
 */
function ownsFolder(folder: string): boolean {
  const settings = textOf(folder, settingsFile)
  if (settings !== undefined) return isOurs(settings)
  const own = join(folder, ownFolder)
  return isFolder(own) && readdirSync(own).every((name) => temporaryName.test(name))
}

/** Returns the unfinished files that a killed command left beside the wanted files. */
function drafts(folder: string, wanted: ReadonlyMap<string, string>): string[] {
  return namesIn(folder).filter(
    (name) => temporaryName.test(name) && wanted.has(name.replace(temporaryName, '')),
  )
}

/** Returns the files of machines that hydra-ops wrote. */
function oldMachines(folder: string): string[] {
  return namesIn(folder).filter(
    (name) => name.endsWith('.nix') && isFile(folder, name) && isOurs(textOf(folder, name) ?? ''),
  )
}

function oldOwnFiles(folder: string): string[] {
  const own = join(folder, ownFolder)
  return readdirSync(own, { recursive: true, encoding: 'utf8' })
    .map((name) => `${ownFolder}/${name}`)
    .filter((name) => isFile(folder, name))
}

function namesIn(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder) : []
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true
}

function isFile(folder: string, name: string): boolean {
  return statSync(join(folder, name), { throwIfNoEntry: false })?.isFile() === true
}
