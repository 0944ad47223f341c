import { nixExample, nixValue } from './nix-value.js'
import { alternatives, innerSchema, type OptionSchema, typesOf } from './option-schema.js'

/** One line of a table: the option, its type with the default, its meaning, an example. */
type Row = readonly [name: string, type: string, meaning: string, example: string]

/** Writes the table of all options of a set, including nested options. */
export function optionTable(schema: OptionSchema): string {
  return tableText(['option', 'type; default', 'meaning', 'example'], contents('', schema))
}

/**
 * Writes one table for all kinds of checks. An option that several kinds share has one row, which names the kinds.
 */
export function checksTable(schema: OptionSchema): string {
  const kinds = Object.entries(schema.properties ?? {}).map(([kind, list]) => ({
    kind: `\`${kind}\``,
    lines: contents('', innerSchema(innerSchema(list)?.items) ?? {}),
  }))
  const lines = new Map(kinds.flatMap((each) => each.lines.map((line) => [line.join('|'), line] as const)))
  const withKinds = [...lines].map(([key, [name, type, meaning, example]]) => {
    const having = kinds.filter((each) => each.lines.some((line) => line.join('|') === key))
    const named = having.length === kinds.length ? 'all' : having.map((each) => each.kind).join(', ')
    return [name, type, named, meaning, example]
  })
  return tableText(['option', 'type; default', 'checks', 'meaning', 'example'], withKinds)
}

function tableText(heads: readonly string[], lines: readonly (readonly string[])[]): string {
  const all = [heads, heads.map(() => '---'), ...lines]
  return all.map((line) => `| ${line.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`).join('\n')
}

function rows(name: string, option: OptionSchema): Row[] {
  const inner = contents(name, option)
  return inner.length > 0 && option.properties !== undefined ? inner : [row(name, option), ...inner]
}

/** Lists the options of a set, of a list's elements, or of the values of an attribute set. */
function contents(name: string, option: OptionSchema): Row[] {
  const prefix = name === '' ? '' : `${name}.`
  const within = (inner: string, schema: unknown) => {
    const parsed = innerSchema(schema)
    return parsed === undefined ? [] : contents(inner, parsed)
  }
  return [
    ...Object.entries(option.properties ?? {}).flatMap(([key, each]) =>
      rows(`${prefix}${key}`, innerSchema(each) ?? {}),
    ),
    ...within(`${prefix}*`, option.items),
    ...within(`${prefix}<${option.entryName ?? 'name'}>`, option.additionalProperties),
    ...alternatives(option).flatMap((each) => contents(name, each)),
  ]
}

function row(name: string, option: OptionSchema): Row {
  const value =
    option.shownDefault ??
    (option.default === undefined || option.default === null ? undefined : `\`${nixValue(option.default)}\``)
  const [example] = option.examples ?? []
  const instance = example === undefined ? '' : `\`${nixExample(example)}\``
  const type = value === undefined ? typeOf(option) : `${typeOf(option)}; ${value}`
  return [`\`${name}\``, type, option.description ?? '', instance]
}

const typeNames: Readonly<Record<string, string>> = {
  string: 'text',
  boolean: 'bool',
  integer: 'number',
  number: 'number',
}

function typeOf(option: OptionSchema): string {
  if (option.shownType !== undefined) return option.shownType
  const values = option.const === undefined ? option.enum : [option.const]
  if (values !== undefined) return values.map((each) => `\`${nixValue(each)}\``).join(', ')
  const names = [...alternatives(option).map(typeOf), ...typesOf(option).map((type) => nameOf(type, option))]
  return [...new Set([...names, ...(option.path === true ? ['path'] : [])])].join(' or ')
}

function nameOf(type: string, option: OptionSchema): string {
  if (type === 'array') return manyOf('list', option.items)
  return type === 'object' ? manyOf('set', option.additionalProperties) : (typeNames[type] ?? type)
}

/** Describes a list or set, with the type of its elements unless they are sets themselves. */
function manyOf(what: string, element: unknown): string {
  const type = typeOf(innerSchema(element) ?? {})
  return type === '' || type === 'set' ? what : `${what} of ${type}`
}
