import type { z } from 'zod'

/** An option with its description and an example, from which the documentation is generated. */
export function documented<Schema extends z.ZodType>(
  schema: Schema,
  description: string,
  example: unknown,
): Schema {
  return schema.meta({ description, examples: [example] })
}
