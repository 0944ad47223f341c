import type { z } from 'zod'

/** What the documentation says of an option where the schema and its example say too little. */
export interface OptionWords {
  /** The type in words: `a URL`, or a unit such as `MiB`. */
  readonly shownType?: string
  /** The default in words, where it depends on something else: `the machine's name`. */
  readonly shownDefault?: string
  /** The name of an entry in a set with free names, for instance `path` in `files.<path>`. */
  readonly entryName?: string
  /** An expression may give a path too, which arrives as text. */
  readonly path?: true
}

/** Gives an option its description, an example and words, from which documents and NixOS modules are generated. */
export function documented<Schema extends z.ZodType>(
  schema: Schema,
  description: string,
  example: unknown,
  words: OptionWords = {},
): Schema {
  return schema.meta({ description, examples: [example], ...words })
}

/** Gives a schema that several options share its type in words. */
export function shownAs<Schema extends z.ZodType>(shownType: string, schema: Schema): Schema {
  const words: OptionWords = { shownType }
  return schema.meta({ ...words })
}
