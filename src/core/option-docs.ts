import type { z } from 'zod'

/** Words for the documentation of an option whose schema and example say too little. */
export interface OptionWords {
  /** The type in words: `a URL`, or a unit such as `MiB`. */
  readonly shownType?: string
  /** The default in words, where it depends on something else: `the machine's name`. */
  readonly shownDefault?: string
  /** The name of an entry in a set with free names, such as `path` in `files.<path>`. */
  readonly entryName?: string
  /** Whether an expression may also give a path, which arrives as text. */
  readonly path?: true
}

/** Gives an option its description, example and words, the source of documents and NixOS modules. */
export function documented<Schema extends z.ZodType>(
  schema: Schema,
  description: string,
  example: unknown,
  words: OptionWords = {},
): Schema {
  return schema.meta({ description, examples: [example], ...words })
}

/** Describes in words the type of a schema that several options share. */
export function shownAs<Schema extends z.ZodType>(shownType: string, schema: Schema): Schema {
  const words: OptionWords = { shownType }
  return schema.meta({ ...words })
}
