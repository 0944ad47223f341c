import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { failure, messageOf, usageError } from '../core/errors.js'
import { packageRoot } from '../core/package-root.js'
import { shellQuote } from '../core/shell-quote.js'

/**
 * Values of a script of `target/`, each a variable there. They are seen in the machine's list of processes, so that
 * secrets go to standard input instead.
 */
export type ScriptValues = Readonly<Record<string, ScriptValue>>

export type ScriptValue = string | number | boolean | ScriptList

/**
 * One line an item. A text holds no end of a line. A record may hold anything: its fields are joined by colons, and
 * what would be mistaken in them is coded (`decode` of target/lib.sh).
 */
export type ScriptList = readonly (string | readonly string[])[]

/** The text for a machine's shell: the values, what scripts share, and the script (`tasks/nix/look`). */
export function targetScript(name: string, values: ScriptValues = {}): string {
  return [
    `# ${name}\n`,
    ...Object.entries(values).map(valueLine),
    ...sharedBy(name),
    targetFile(`${name}.sh`),
  ].join('')
}

/**
 * The text of a script that stays on a machine as a file: without what scripts share, so that the file changes only with
 * its own text.
 */
export function placedScript(name: string, values: ScriptValues): string {
  return [...Object.entries(values).map(valueLine), targetFile(`${name}.sh`)].join('')
}

/** A file below `target/`, as it lies there but for lines that are comments. Read once per process. */
export function targetFile(path: string): string {
  const text = find(path)
  if (text === undefined) throw missing(path, 'there is no such file')
  return text
}

/** Lists `lib.sh` of `target/` and of each folder down to the script's own, where it has one. */
function sharedBy(name: string): string[] {
  const folders = name.split('/').slice(0, -1)
  const inner = folders.map((_, index) => `${folders.slice(0, index + 1).join('/')}/lib.sh`)
  return [targetFile('lib.sh'), ...inner.flatMap((path) => find(path) ?? [])]
}

const found = new Map<string, string | undefined>()

/** Undefined = there is no such file. */
function find(path: string): string | undefined {
  if (!found.has(path)) found.set(path, read(path)?.replaceAll(/^[ \t]*#.*\n/gm, ''))
  return found.get(path)
}

function read(path: string): string | undefined {
  try {
    return readFileSync(join(packageRoot(), 'target', path), 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw missing(path, messageOf(error))
  }
}

function missing(path: string, why: string): Error {
  return failure('INSTALLATION', `hydra-ops is not installed properly: target/${path}: ${why}`, {
    hint: `install hydra-ops again; the file belongs into ${dirname(join(packageRoot(), 'target', path))}`,
  })
}

function valueLine([name, value]: readonly [string, ScriptValue]): string {
  if (!/^[a-z][a-z0-9_]*$/.test(name)) throw new Error(`'${name}' is no name for a value of a script`)
  return `${name}=${shellQuote(typeof value === 'object' ? value.map(line).join('\n') : String(value))}\n`
}

function line(item: ScriptList[number]): string {
  if (typeof item !== 'string') return item.map(coded).join(':')
  if (item === '' || item.includes('\n')) {
    throw usageError(`${JSON.stringify(item)} cannot be one of several values of a script on a machine`, {
      hint: 'it must have exactly one line',
    })
  }
  return item
}

/** A field as `printf %b` reads it back, with none of the characters that separate fields and records. */
function coded(field: string): string {
  return field.replaceAll(/[\\:\n]/g, (each) => `\\0${each.charCodeAt(0).toString(8).padStart(3, '0')}`)
}
