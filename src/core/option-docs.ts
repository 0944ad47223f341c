import type { z } from 'zod'

/** Documentation for an option whose schema and example do not say enough. */
export interface OptionWords {
  /** The type in words: `a URL`, or a unit such as `MiB`. */
  readonly shownType?: string
  /** The default in words, if it depends on another option: `the machine's name`. */
  readonly shownDefault?: string
  /** The placeholder for an entry's name in an attribute set, such as `path` in `files.<path>`. */
  readonly entryName?: string
  /** Whether the expression may also give a path, which arrives as text. */
  readonly path?: true
}

/**
 * Adds a description, an example and further words to an option. The documents and NixOS modules are generated from
 * them.
 */
export function documented<Schema extends z.ZodType>(
  schema: Schema,
  description: string,
  example: unknown,
  words: OptionWords = {},
): Schema {
  return schema.meta({ description, examples: [example], ...words })
}

/** Adds a description of the type to a schema that several options share. */
export function shownAs<Schema extends z.ZodType>(shownType: string, schema: Schema): Schema {
  const words: OptionWords = { shownType }
  return schema.meta({ ...words })
}
