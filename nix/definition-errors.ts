import * as z from 'zod'
import { optionName } from '../src/core/option-name.js'
import { suggest } from '../src/core/suggest.js'
import { insteadOfPeerOption } from './peer-options.js'

/** A problem with one option, as a sentence without its machine. */
export interface Issue {
  readonly path: readonly (string | number)[]
  readonly say: string
}

type Path = readonly PropertyKey[]
type SchemaIssue = z.core.$ZodIssue

/**
 * Checks `value`, which is at `base` in a machine's definition, and lists every issue. `hides` selects the
 * options whose values are never shown.
 */
export function check<T>(
  schema: z.ZodType<T>,
  value: unknown,
  base: readonly string[],
  hides: (path: readonly (string | number)[]) => boolean = () => false,
): { readonly value: T } | { readonly issues: readonly Issue[] } {
  const result = schema.safeParse(value)
  if (result.success) return { value: result.data }
  return {
    issues: result.error.issues.flatMap((issue) => describeIssue(issue, { schema, value, base, hides })),
  }
}

interface Subject {
  readonly schema: z.ZodType<unknown>
  readonly value: unknown
  readonly base: readonly string[]
  hides(path: readonly (string | number)[]): boolean
}

function describeIssue(issue: SchemaIssue, subject: Subject): Issue[] {
  const path = [...subject.base, ...issue.path.map(part)]
  if (issue.code === 'unrecognized_keys') {
    const known = knownKeys(subject.schema, issue.path)
    return issue.keys.map((key) => {
      const instead = insteadOfPeerOption(optionName([...path, key]))
      return {
        path: [...path, key],
        say: instead === undefined ? unknownOption(key, known) : `unknown option; ${instead}`,
      }
    })
  }
  // A custom rule of the schema has its own message.
  if (issue.code === 'custom') return [{ path, say: issue.message }]
  if (issue.code === 'invalid_key') {
    const [inner] = issue.issues
    const wanted = inner === undefined ? 'another name' : `a name of ${expectation(inner)}`
    return [{ path, say: `expected ${wanted}, got ${JSON.stringify(path.at(-1))}` }]
  }
  const given = valueAt(subject.value, issue.path)
  if (given === undefined) {
    return [{ path, say: `the value is missing; expected ${expectation(issue)}` }]
  }
  const got = subject.hides(path) ? kindOf(given) : shown(given)
  return [{ path, say: `expected ${expectation(issue)}, got ${got}` }]
}

export function unknownOption(name: string, known: readonly string[]): string {
  const near = suggest(name, known)
  return near === undefined ? 'unknown option' : `unknown option; did you mean '${near}'?`
}

const typeNames: Readonly<Record<string, string>> = {
  string: 'a string',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a set',
  record: 'a set',
  null: 'null',
}

/** Describes the type that the schema expects; the text follows the word `expected`. */
function expectation(issue: SchemaIssue): string {
  // The schema's own message (`an octal mode such as "0600"`) says more than a sentence made from its rules.
  if (!/^(?:Invalid|Too|Unrecognized) /.test(issue.message)) return issue.message
  switch (issue.code) {
    case 'invalid_type':
      return typeNames[issue.expected] ?? issue.expected
    case 'invalid_value':
      return issue.values.map((value) => JSON.stringify(value)).join(' or ')
    case 'too_small':
      return bound(issue.origin, issue.inclusive === false ? 'more than' : 'at least', issue.minimum)
    case 'too_big':
      return bound(issue.origin, issue.inclusive === false ? 'less than' : 'at most', issue.maximum)
    case 'invalid_format':
      if (issue.format === 'starts_with' && 'prefix' in issue) {
        return `text that begins with ${JSON.stringify(issue.prefix)}`
      }
      return `text in the format ${issue.format}`
    case 'invalid_union':
      return [...new Set(issue.errors.flatMap((branch) => branch.slice(0, 1).map(expectation)))].join(' or ')
    default:
      return issue.message
  }
}

function bound(origin: string, how: string, limit: number | bigint): string {
  if (origin === 'string') return limit === 1 ? 'text that is not empty' : `${how} ${limit} characters`
  if (origin === 'array') return `${how} ${limit} ${limit === 1 ? 'element' : 'elements'}`
  return `a number of ${how} ${limit}`
}

const longestShown = 60

/** Shows a value almost as the user wrote it; sets and lists appear only by kind. */
function shown(value: unknown): string {
  if (typeof value === 'string') {
    const text = JSON.stringify(value)
    return text.length <= longestShown ? text : `${text.slice(0, longestShown)}…"`
  }
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : kindOf(value)
}

function kindOf(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'a list'
  if (typeof value !== 'object') return typeNames[typeof value] ?? typeof value
  return '<function>' in value ? 'a function' : 'a set'
}

function valueAt(value: unknown, path: Path): unknown {
  return path.reduce<unknown>(
    (inner, key) =>
      typeof inner === 'object' && inner !== null ? Reflect.get(inner, String(key)) : undefined,
    value,
  )
}

function part(key: PropertyKey): string | number {
  return typeof key === 'number' ? key : String(key)
}

/** Lists the names that a schema allows at a path, for suggestions. */
export function knownKeys(schema: z.ZodType<unknown>, path: Path): string[] {
  const inner = unwrap(schema)
  const [first, ...rest] = path
  if (inner instanceof z.ZodUnion) return inner.options.flatMap((each) => knownKeys(typed(each), path))
  if (first === undefined) return inner instanceof z.ZodObject ? Object.keys(inner.shape) : []
  if (inner instanceof z.ZodObject) {
    const next: unknown = Reflect.get(inner.shape, first)
    return next instanceof z.ZodType ? knownKeys(next, rest) : []
  }
  if (inner instanceof z.ZodRecord) return knownKeys(typed(inner.valueType), rest)
  return inner instanceof z.ZodArray ? knownKeys(typed(inner.element), rest) : []
}

function unwrap(schema: z.ZodType<unknown>): z.ZodType<unknown> {
  if (
    schema instanceof z.ZodOptional ||
    schema instanceof z.ZodNullable ||
    schema instanceof z.ZodDefault ||
    schema instanceof z.ZodPrefault
  ) {
    return unwrap(typed(schema.unwrap()))
  }
  return schema instanceof z.ZodPipe ? unwrap(typed(schema.in)) : schema
}

/** Narrows to ZodType: zod's own accessors return its core type, and every schema made by `z` is a ZodType. */
function typed(schema: unknown): z.ZodType<unknown> {
  return schema instanceof z.ZodType ? schema : z.unknown()
}
