import { nixString } from '../../src/core/nix-string.js'
import { optionName } from '../../src/core/option-name.js'

/** Writes a value in Nix on one line. */
export function nixValue(value: unknown, writeText: (text: string) => string = nixString): string {
  const written = (each: unknown) => nixValue(each, writeText)
  if (Array.isArray(value)) return value.length === 0 ? '[ ]' : `[ ${value.map(written).join(' ')} ]`
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value).map(([key, each]) => `${optionName([key])} = ${written(each)};`)
    return entries.length === 0 ? '{ }' : `{ ${entries.join(' ')} }`
  }
  return typeof value === 'string' ? writeText(value) : JSON.stringify(value)
}

/** Writes an example. Packages and paths are text in a schema, but have no quotes in Nix. */
export function nixExample(value: unknown): string {
  return nixValue(value, (text) => (/^(?:pkgs\.|\.\/)[\w./-]+$/.test(text) ? text : nixString(text)))
}
