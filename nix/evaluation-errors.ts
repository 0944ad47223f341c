import * as z from 'zod'
import { failure, type OpsError, usageError } from '../src/core/errors.js'
import { optionName } from '../src/core/option-name.js'
import type { NixText } from './evaluation-input.js'
import { hintForOption } from './nixos-traps.js'

/** The place of an evaluation, as eval.nix names it in the trace. */
const Place = z.object({
  machine: z.string().optional(),
  option: z.array(z.union([z.string(), z.number()])).optional(),
  files: z.array(z.string()).default([]),
})
type Place = z.infer<typeof Place>

/** The data that eval.nix throws. */
const Fail = Place.extend({ say: z.string(), hint: z.string().optional(), code: z.string().optional() })
type Fail = z.infer<typeof Fail>

interface Position {
  readonly file: string
  readonly line: number
  readonly column: number
}

/** An error of Nix, split into its parts. */
export interface NixError {
  readonly message: string
  readonly position: Position | undefined
  /** Places, innermost first. */
  readonly places: readonly Place[]
  readonly fail: Fail | undefined
}

/** Data for an error message to the user. */
export interface ErrorView {
  readonly cwd: string
  readonly showTrace: boolean
  readonly input: NixText
  /**
   * The network's files, which an error names when Nix reports no place (for example, 2.8 after a stack
   * overflow).
   */
  readonly files: readonly string[]
}

/** Shows a path below the current folder as the user would type it. */
export function shortPath(path: string, cwd: string): string {
  return cwd !== '/' && path.startsWith(`${cwd}/`) ? path.slice(cwd.length + 1) : path
}

export const ansiColours = new RegExp(`${String.fromCharCode(27)}\\[[0-9;]*m`, 'g')
const positionLine = /^\s*at (.+?):(\d+):(\d+):?(?:Did you mean .*)?$/
const snippetLine = /^\s*(?:\d+)?\|/

/**
 * Parses Nix's stderr with `--show-trace`. Nix 2.8 puts the message first, with the trace below it, innermost frame
 * first. Newer versions put the trace first, outermost frame first, and the message below it.
 */
export function parseNixError(stderr: string, ownFolder: string): NixError {
  const lines = stderr.replaceAll(ansiColours, '').split('\n')
  const start = lines.findIndex((line) => /^\s*error:\s*\S/.test(line))
  const message = start < 0 ? '' : messageAt(lines, start)
  const above = lines.slice(0, Math.max(start, 0)).reverse()
  const frames = [...lines.slice(Math.max(start, 0)), ...above]
  const positions = frames.flatMap((line) => positionOf(line))
  // Positions in Nix's internal files (`<nix/derivation-internal.nix>`, `«nix-internal»/…`) and in nixpkgs say
  // nothing about a mistake in the user's files.
  const nixpkgs = new Set(positions.flatMap(({ file }) => nixpkgsFolder(file) ?? []))
  const isOurs = ({ file }: Position) =>
    file.startsWith(`${ownFolder}/`) ||
    /^(?:<|«nix)/.test(file) ||
    [...nixpkgs].some((folder) => file.startsWith(`${folder}/`))
  // A position in a user's file says more than a position in the store.
  const isTheirs = (position: Position) => !isOurs(position) && !position.file.startsWith('/nix/store/')
  const places = frames.flatMap((line) => jsonAfter('hydra-ops:at:', line, Place))
  return {
    message,
    position: positions.find(isTheirs) ?? positions.find((position) => !isOurs(position)),
    places,
    fail: jsonAfter('hydra-ops:fail:', message, Fail)[0],
  }
}

/** Returns the message's first line and the lines that continue it. */
function messageAt(lines: readonly string[], start: number): string {
  const rest = lines.slice(start + 1).filter((line) => line.trim() !== '')
  const end = rest.findIndex(
    (line) => positionLine.test(line) || snippetLine.test(line) || /^\s*(?:…|\(use '|\(stack )/.test(line),
  )
  const parts = [
    lines[start]?.replace(/^\s*error:\s*/, '') ?? '',
    ...rest.slice(0, end < 0 ? undefined : end),
  ]
  return parts.map((part) => part.trim()).join(' ')
}

/** Returns the folder of nixpkgs for a file that every nixpkgs has. */
function nixpkgsFolder(file: string): string | undefined {
  return /^(.+)\/(?:lib\/(?:modules|types|options)\.nix|nixos\/lib\/eval-config\.nix)$/.exec(file)?.[1]
}

function positionOf(line: string): Position[] {
  const [, file, row, column] = positionLine.exec(line) ?? []
  return file === undefined ? [] : [{ file, line: Number(row), column: Number(column) }]
}

function jsonAfter<T>(mark: string, line: string, schema: z.ZodType<T>): T[] {
  const at = line.indexOf(mark)
  if (at < 0) return []
  try {
    return [schema.parse(JSON.parse(line.slice(at + mark.length)))]
  } catch {
    return []
  }
}

/** Lists the machines whose definitions were being evaluated, innermost first. */
export function machinesOf(error: NixError): string[] {
  const inner = error.fail?.machine === undefined ? [] : [error.fail.machine]
  return [...new Set([...inner, ...error.places.flatMap((place) => place.machine ?? [])])]
}

/** Tells whether the evaluation needs a store to which it can write, for a fetch or a build. */
export function needsWritableStore(error: NixError): boolean {
  return (
    /is not supported by store 'dummy/.test(error.message) || /^path '.*' is not valid$/.test(error.message)
  )
}

/**
 * Creates an error of one sentence, with machine, file and line as far as they are known. The trace follows only
 * on request.
 */
export function evaluationError(error: NixError, stderr: string, view: ErrorView): OpsError {
  const detail = view.showTrace ? { detail: withoutArguments(stderr) } : {}
  if (error.fail !== undefined) return failError(error.fail, view.cwd, detail)
  const argument = argumentAt(error.position, view.input)
  if (argument !== undefined) {
    return usageError(`function argument${argument}: ${explain(error.message).say}`, {
      hint: 'correct the argument with hydra-ops set-args',
      ...detail,
    })
  }
  const own = hintForOption(error.message) ?? hintForAddress(error, stderr)
  const { say, hint = own, code } = explain(error.message)
  if (code === 'host')
    return failure('NIX', `Nix cannot evaluate the network on this host: ${say}`, { ...detail })
  const machine = machinesOf(error)[0]
  const place = error.places[0]
  // An error of the module system itself names options and files. A line would name a place that only reads the option.
  const ofModules = moduleError.test(error.message)
  const position = ofModules ? undefined : error.position
  const files = position === undefined ? filesOf(error, view) : [positionText(position)]
  const option = ofModules ? '' : optionPrefix(place)
  return usageError(`${subject(machine, files, view.cwd)}${option}${shorten(say, view.cwd)}`, {
    ...(machine === undefined ? {} : { machine }),
    ...(hint === undefined ? {} : { hint }),
    ...detail,
  })
}

/** Returns a hint for an expression that uses a machine's address while the address is still null. */
function hintForAddress({ message, position }: NixError, stderr: string): string | undefined {
  if (position === undefined || !/\bnull\b/.test(message)) return undefined
  const source = new RegExp(`^\\s*${position.line}\\|.*\\b(privateIPv4|publicIPv4)\\b`, 'm')
  const [, option] = source.exec(stderr.replaceAll(ansiColours, '')) ?? []
  if (option === undefined) return undefined
  return `this address is unknown until the machine runs; define networking.${option} of that machine, or use its DNS name`
}

/** Beginnings of the error messages of nixpkgs' module system. */
const moduleError =
  /^(?:The option |A definition for option |Cannot merge definitions of |You're trying to declare a value of type |The unique option |Module `|Module imports )/

/** Returns the files of the innermost place that names files. */
function filesOf(error: NixError, view: ErrorView): readonly string[] {
  return error.places.find(({ files }) => files.length > 0)?.files ?? view.files
}

function failError(fail: Fail, cwd: string, detail: { detail?: string }): OpsError {
  const hint = fail.code === 'nix-too-old' ? newerNix : fail.hint
  return usageError(
    `${subject(fail.machine, fail.files, cwd)}${optionPrefix(fail)}${shorten(fail.say, cwd)}`,
    {
      ...(fail.machine === undefined ? {} : { machine: fail.machine }),
      ...(hint === undefined ? {} : { hint }),
      ...detail,
    },
  )
}

/** Formats the start of a sentence: `machine 'web' (hydra.nix): ` */
export function subject(machine: string | undefined, files: readonly string[], cwd: string): string {
  const named = files.filter((file) => !file.startsWith('<')).map((file) => shortPath(file, cwd))
  const inFiles = named.join(', ')
  if (machine === undefined) return inFiles === '' ? '' : `${inFiles}: `
  return inFiles === '' ? `machine '${machine}': ` : `machine '${machine}' (${inFiles}): `
}

function optionPrefix(place: Place | undefined): string {
  return place?.option === undefined || place.option.length === 0 ? '' : `${optionName(place.option)}: `
}

function positionText({ file, line, column }: Position): string {
  return `${file}:${line}:${column}`
}

/** Shortens paths below the current folder in a sentence, as the user would type them. */
export function shorten(text: string, cwd: string): string {
  return cwd === '/' ? text : text.replaceAll(`${cwd}/`, '')
}

const newerNix =
  'use nixpkgs 24.11 or older, or install a newer Nix from https://nixos.org/download; a Debian machine needs no nixpkgs'

interface Explained {
  readonly say: string
  readonly hint?: string
  /** `host` means that the expression is right and this host is the cause. */
  readonly code?: 'host'
}

/** Explains errors whose original words do not help. Values are cut off, because a value could be a secret. */
function explain(raw: string): Explained {
  const message = withoutSecrets(raw)
    .replace(/^(expected .+ but found .+?): .*$/, '$1')
    .replace(/^(cannot coerce .+? to a string): .*$/, '$1')
  const missing =
    /^(?:getting status of|opening file|reading file|path) '(.+)'(?:: No such file or directory| does not exist)$/
  const lost = missing.exec(message)?.[1]
  if (lost !== undefined) return { say: `${lost} does not exist` }
  if (/stack overflow/.test(message)) return { say: 'infinite recursion encountered (the stack overflowed)' }
  if (/requires Nix >= /.test(message)) {
    return {
      say: `this nixpkgs ${/requires Nix >= [\d.]+/.exec(message)?.[0] ?? 'requires a newer Nix'}`,
      hint: newerNix,
    }
  }
  if (/^file '.*' was not found in the Nix search path/.test(message)) {
    const name = /^file '(.*?)'/.exec(message)?.[1]
    return {
      say: `<${name}> is not in the Nix search path`,
      hint: `add the path with -I ${name?.split('/')[0]}=PATH, or to NIX_PATH`,
    }
  }
  if (/called with unexpected argument/.test(message)) {
    return { say: message, hint: 'add "..." to the arguments of the function, as in { lib, ... }: …' }
  }
  if (/experimental .*feature 'flakes'/.test(message)) {
    return { say: message, hint: "add --option experimental-features 'flakes' to the command" }
  }
  if (/^path '.*' is not valid$/.test(message)) {
    return {
      say: 'the expression needs a build during its evaluation, but this command does not write to the Nix store',
      hint: 'hydra-ops deploy --build-only builds the needed path',
    }
  }
  if (/Permission denied|No space left|cannot connect|Read-only file system|database/.test(message)) {
    return { say: message, code: 'host' }
  }
  return { say: message === '' ? 'Nix failed without an error message' : message }
}

/**
 * Removes the values from a message of the module system about an option that may hold a secret. The files stay.
 */
function withoutSecrets(message: string): string {
  const option = /^[^`]*option `([^']+)'/.exec(message)?.[1]
  if (option === undefined || !/^deployment\.(?:keys|secrets|hydra)\b/.test(option)) return message
  const files = [...message.matchAll(/- In `([^']+)'/g)].map(([, file]) => file)
  const start = message.replace(/\.? Definition values:.*$/s, '').replace(/:? - In `.*$/s, '')
  return files.length === 0 ? start : `${start} (in ${[...new Set(files)].join(', ')})`
}

/**
 * Returns ` 'foo'` for a position in an argument's text, or a general phrase for another position in the input.
 */
function argumentAt(position: Position | undefined, input: NixText): string | undefined {
  if (position?.file !== '«stdin»' && position?.file !== '(stdin)') return undefined
  const found = input.arguments.find(({ from, to }) => from <= position.line && position.line <= to)
  if (found !== undefined) return ` '${found.name}'`
  return input.arguments.length === 0 ? undefined : 's (--arg)'
}

/** Removes lines of Nix's input from a trace, because the input contains the function arguments. */
function withoutArguments(stderr: string): string {
  let inInput = false
  const kept = stderr.split('\n').filter((line) => {
    if (positionLine.test(line)) inInput = /at [«(]stdin/.test(line)
    else if (!snippetLine.test(line) && line.trim() !== '') inInput = false
    return !(inInput && snippetLine.test(line))
  })
  return kept.join('\n').trim()
}
