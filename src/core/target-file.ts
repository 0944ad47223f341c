import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { failure, messageOf, usageError } from './errors.js'
import { packageRoot } from './package-root.js'
import { shellQuote } from './shell-quote.js'

/**
 * Values for a script of `target/`, which become its variables. The machine's process list shows the values, so secrets
 * go to standard input instead.
 */
export type ScriptValues = Readonly<Record<string, ScriptValue>>

export type ScriptValue = string | number | boolean | ScriptList

/**
 * A list with one line for each item. A string item contains no newline. An array item may contain any text: colons
 * join its fields, and special characters are encoded (`decode` in target/lib.sh).
 */
export type ScriptList = readonly (string | readonly string[])[]

/** Returns the text of a file below `target/`, without its comment lines. */
export function targetFile(path: string): string {
  const text = findTargetFile(path)
  if (text === undefined) throw notInstalled(path, 'there is no such file')
  return text
}

/** Returns the text of a file below `target/`, or undefined if the file is missing. */
export function findTargetFile(path: string): string | undefined {
  files ??= readAll()
  return files.get(path)
}

let files: ReadonlyMap<string, string> | undefined

/** Reads all files at once, so that a process keeps its own version's scripts while another version is installed. */
function readAll(): ReadonlyMap<string, string> {
  const folder = join(packageRoot(), 'target')
  try {
    const names = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    const read = (name: string) => readFileSync(join(folder, name), 'utf8').replaceAll(/^[ \t]*#.*\n/gm, '')
    return new Map(names.filter((name) => /\.[a-z]+$/.test(name)).map((name) => [name, read(name)]))
  } catch (error) {
    throw notInstalled('', messageOf(error))
  }
}

function notInstalled(path: string, why: string): Error {
  return failure('INSTALLATION', `hydra-ops is not installed properly: target/${path}: ${why}`, {
    hint: `install hydra-ops again; its scripts belong in ${join(packageRoot(), 'target')}`,
  })
}

/** Returns the script line that assigns a value to a variable. */
export function valueLine([name, value]: readonly [string, ScriptValue]): string {
  if (!/^[a-z][a-z0-9_]*$/.test(name)) throw new Error(`'${name}' is not a name for a value of a script`)
  return `${name}=${shellQuote(typeof value === 'object' ? value.map(line).join('\n') : String(value))}\n`
}

function line(item: ScriptList[number]): string {
  if (typeof item !== 'string') return item.map(coded).join(':')
  if (item === '' || item.includes('\n')) {
    throw usageError(`${JSON.stringify(item)} cannot be one of several values of a script on a machine`, {
      hint: 'each value must have exactly one line',
    })
  }
  return item
}

/** Encodes each separator in a field, for `printf %b` to decode. */
function coded(field: string): string {
  return field.replaceAll(/[\\:\n]/g, (each) => `\\0${each.charCodeAt(0).toString(8).padStart(3, '0')}`)
}
