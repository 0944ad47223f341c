import type { z } from 'zod'
import { optionName } from '../../src/core/option-name.js'
import { nixValue } from './nix-value.js'
import {
  alternatives,
  innerSchema,
  mayBeNull,
  type OptionSchema,
  optionSchema,
  typesOf,
} from './option-schema.js'

/** Types that nixpkgs lacks; a module declares the types that it uses. */
const ownTypes = {
  atLeast: `least:
    types.addCheck types.int (value: value >= least) // { description = "integer of at least \${toString least}"; }`,
  atMost: 'count: type: types.addCheck (types.listOf type) (list: builtins.length list <= count)',
  named: `pattern: type:
    types.addCheck (types.attrsOf type) (set: builtins.all (name: builtins.match pattern name != null) (builtins.attrNames set))`,
  notEmpty: `types.addCheck types.str (text: text != "") // { description = "string that is not empty"; }`,
  only: 'name: type: types.addCheck (types.attrsOf type) (set: builtins.attrNames set == [ name ])',
} as const

/** The input of a module: the schema, and the key below `deployment`, undefined for a provider without options. */
export interface ModuleSource {
  readonly optionKey: string | undefined
  readonly schema: z.ZodType
}

/** Writes the options of a provider as a NixOS module. */
export function nixModule({ optionKey, schema }: ModuleSource): string {
  const head = [
    '# Generated from config.ts by scripts/options.ts: change config.ts, then run the script. config.ts checks the',
    '# same options for every kind of machine. It also checks rules that no type expresses, such as unique ports.',
  ]
  const options = declarations(optionSchema(schema))
  if (optionKey === undefined) {
    if (options.length > 0) throw new Error('a provider without a key below deployment cannot have options')
    return [
      ...head,
      '# This provider has no options of its own: those of every machine describe the host.',
      '{ ... }: { }',
      '',
    ].join('\n')
  }
  const body = options.map((option) => indented(option, 4)).join('\n')
  const types = (body.match(/^ *type = .*$/gm) ?? []).join('\n').replace(/"(?:\\.|[^"\\])*"/g, '')
  const used = Object.entries(ownTypes).filter(([name]) => new RegExp(`\\b${name}\\b`).test(types))
  return [
    ...head,
    '{ lib, ... }:',
    'let',
    '  inherit (lib) mkOption;',
    '  types = import ../../nix/types.nix lib;',
    ...used.map(([name, type]) => `  ${name} = ${type};`),
    'in',
    '{',
    `  options.deployment.${optionKey} = {`,
    body,
    '  };',
    '}',
    '',
  ].join('\n')
}

function declarations({ properties = {}, required = [] }: OptionSchema): string[] {
  return Object.entries(properties).map(([name, option]) =>
    declaration(name, innerSchema(option) ?? {}, !required.includes(name)),
  )
}

/** Writes the declaration of an option. An optional option without a default is null when nobody sets the option. */
export function declaration(name: string, option: OptionSchema, optional: boolean): string {
  const [example] = option.examples ?? []
  const isNull = optional && option.default === undefined
  const type = typeText(option)
  const lines = [
    `type = ${isNull && !mayBeNull(option) ? `types.nullOr ${nested(type)}` : type};`,
    ...(isNull ? ['default = null;'] : []),
    ...(option.default === undefined ? [] : [`default = ${nixValue(option.default)};`]),
    ...(example === undefined ? [] : [`example = ${nixValue(example)};`]),
    ...(option.description === undefined ? [] : [`description = ${nixValue(sentences(option))};`]),
  ]
  return `${optionName([name])} = mkOption {\n${indented(lines.join('\n'), 2)}\n};`
}

/** Formats the description as sentences, with the default if words describe it. */
function sentences({ description = '', shownDefault }: OptionSchema): string {
  const first = `${description.charAt(0).toUpperCase()}${description.slice(1)}.`
  return shownDefault === undefined ? first : `${first} Default: ${shownDefault}.`
}

export function indented(text: string, by: number): string {
  return text.replace(/^(?=.)/gm, ' '.repeat(by))
}

/**
 * Writes the type of an option. Throws for a schema without an exact type, because a wider type would accept too
 * much.
 */
function typeText(option: OptionSchema): string {
  const type = withPath(option, plainType(option))
  return mayBeNull(option) ? `types.nullOr ${nested(type)}` : type
}

function withPath(option: OptionSchema, type: string): string {
  return option.path === true ? `types.either types.path ${nested(type)}` : type
}

function plainType(option: OptionSchema): string {
  if (option.nixType !== undefined) return option.nixType
  const values = option.const === undefined ? option.enum : [option.const]
  if (values !== undefined) return `types.enum ${nixValue(values)}`
  const branches = alternatives(option)
  if (branches.length > 0) return unionType(branches)
  const types = typesOf(option)
  if (types.length > 1) return oneOf(types.map((type) => plainType({ ...option, type })))
  switch (types[0]) {
    case 'boolean':
      return 'types.bool'
    case 'string':
      return stringType(option)
    case 'integer':
      return integerType(option)
    case 'array':
      return listType(option)
    case 'object':
      return option.properties === undefined ? mapType(option) : submoduleType(option)
    default:
      throw unknownType(option)
  }
}

function unknownType(option: OptionSchema): Error {
  return new Error(
    `there is no NixOS type for ${JSON.stringify(option)}: give scripts/options/nix-module.ts one`,
  )
}

function stringType(option: OptionSchema): string {
  if (option.maxLength !== undefined || (option.minLength ?? 0) > 1) throw unknownType(option)
  if (option.pattern !== undefined) return `types.strMatching ${nixValue(posixPattern(option.pattern))}`
  return option.minLength === 1 ? 'notEmpty' : 'types.str'
}

/** Writes an integer type without zod's default bounds, the range of integers that a double holds exactly. */
function integerType({
  minimum = Number.MIN_SAFE_INTEGER,
  maximum = Number.MAX_SAFE_INTEGER,
}: OptionSchema): string {
  const [low, high] = [minimum > Number.MIN_SAFE_INTEGER, maximum < Number.MAX_SAFE_INTEGER]
  if (low && high) return `types.ints.between ${minimum} ${maximum}`
  if (high) throw unknownType({ minimum, maximum })
  if (!low) return 'types.int'
  if (minimum === 0) return 'types.ints.unsigned'
  return minimum === 1 ? 'types.ints.positive' : `atLeast ${minimum}`
}

function listType(option: OptionSchema): string {
  if ((option.minItems ?? 0) > 0) throw unknownType(option)
  const element = nested(typeText(innerSchema(option.items) ?? {}))
  return option.maxItems === undefined ? `types.listOf ${element}` : `atMost ${option.maxItems} ${element}`
}

function mapType(option: OptionSchema): string {
  const element = nested(typeText(innerSchema(option.additionalProperties) ?? {}))
  const { pattern } = innerSchema(option.propertyNames) ?? {}
  return pattern === undefined
    ? `types.attrsOf ${element}`
    : `named ${nixValue(posixPattern(pattern))} ${element}`
}

function submoduleType(option: OptionSchema): string {
  return `types.submodule {\n  options = {\n${indented(submoduleBody(option), 4)}\n  };\n}`
}

/** Writes the declarations of a set's options. */
export function submoduleBody(option: OptionSchema): string {
  return declarations(option).join('\n')
}

/** Writes a union. A submodule accepts every set, so alternatives that are sets must each have one distinct name. */
function unionType(branches: readonly OptionSchema[]): string {
  const types = branches.map((branch) => {
    const names = Object.keys(branch.properties ?? {})
    if (branches.length === 1 || names.length === 0) return typeText(branch)
    const [name, ...others] = names
    if (name === undefined || others.length > 0) throw unknownType(branch)
    return `only ${nixValue(name)} ${nested(typeText(innerSchema(branch.properties?.[name]) ?? {}))}`
  })
  return oneOf(types)
}

function oneOf(types: readonly string[]): string {
  const [only, ...others] = types
  return only !== undefined && others.length === 0 ? only : `types.oneOf [ ${types.map(nested).join(' ')} ]`
}

/** Puts parentheses around a type that is a function call. */
function nested(type: string): string {
  return /^[\w.]+$/.test(type) ? type : `(${type})`
}

const classes: Readonly<Record<string, string>> = { s: '[:space:]', d: '[:digit:]' }

/** Converts a JavaScript pattern for builtins.match, which matches POSIX extended patterns against the whole text. */
export function posixPattern(pattern: string): string {
  const parts = pattern.match(/\[(?:\\.|[^\]\\])*\]|\\.|\(\?.?|[^[\\(]+|\(/gs) ?? []
  const text = parts
    .map((part) => {
      if (part === '(?:') return '('
      if (part.startsWith('(?')) throw new Error(`POSIX patterns cannot look around: ${pattern}`)
      if (part.startsWith('[')) {
        return part.replace(/\\(.)/g, (_, letter: string) => inBrackets(letter, pattern))
      }
      if (!part.startsWith('\\')) return part
      const letter = part.slice(1)
      if (classes[letter] !== undefined) return `[${classes[letter]}]`
      if (/\w/.test(letter)) throw new Error(`POSIX patterns have no \\${letter}: ${pattern}`)
      return letter === '/' ? '/' : part
    })
    .join('')
  const begun = text.startsWith('^') ? text.slice(1) : `.*${text}`
  return begun.endsWith('$') && !begun.endsWith('\\$') ? begun.slice(0, -1) : `${begun}.*`
}

function inBrackets(letter: string, pattern: string): string {
  if (letter === '/') return letter
  const named = classes[letter]
  if (named === undefined) throw new Error(`in brackets POSIX patterns have no \\${letter}: ${pattern}`)
  return named
}
