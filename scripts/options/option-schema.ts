import { z } from 'zod'

/** The part of a JSON schema that the generators use, with the documentation that src/core/option-docs.ts adds. */
export const OptionSchema = z.object({
  type: z.union([z.string(), z.array(z.string())]).optional(),
  enum: z.array(z.unknown()).optional(),
  const: z.unknown().optional(),
  anyOf: z.array(z.unknown()).optional(),
  minimum: z.number().optional(),
  exclusiveMinimum: z.number().optional(),
  maximum: z.number().optional(),
  minLength: z.number().optional(),
  maxLength: z.number().optional(),
  pattern: z.string().optional(),
  minItems: z.number().optional(),
  maxItems: z.number().optional(),
  items: z.unknown().optional(),
  properties: z.record(z.string(), z.unknown()).optional(),
  required: z.array(z.string()).optional(),
  propertyNames: z.unknown().optional(),
  additionalProperties: z.unknown().optional(),
  description: z.string().optional(),
  examples: z.array(z.unknown()).optional(),
  default: z.unknown().optional(),
  shownType: z.string().optional(),
  shownDefault: z.string().optional(),
  entryName: z.string().optional(),
  path: z.literal(true).optional(),
  /** The NixOS type that replaces the type of the schema. */
  nixType: z.string().optional(),
})
export type OptionSchema = z.infer<typeof OptionSchema>

/** Converts the schema of a set of options to a JSON schema of the values that expressions contain. */
export function optionSchema(schema: z.ZodType): OptionSchema {
  return OptionSchema.parse(z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }))
}

/** Parses a schema within another schema; returns undefined for `true` and for a missing schema. */
export function innerSchema(schema: unknown): OptionSchema | undefined {
  return typeof schema === 'object' && schema !== null ? OptionSchema.parse(schema) : undefined
}

/** Lists the types of a schema, without null. */
export function typesOf(schema: OptionSchema): string[] {
  return [schema.type ?? []].flat().filter((type) => type !== 'null')
}

export function mayBeNull(schema: OptionSchema): boolean {
  const branches = (schema.anyOf ?? []).map(innerSchema)
  return [schema.type].flat().includes('null') || branches.some((each) => each?.type === 'null')
}

/** Lists the alternatives of a schema, without null. */
export function alternatives(schema: OptionSchema): OptionSchema[] {
  const branches = (schema.anyOf ?? []).flatMap((each) => innerSchema(each) ?? [])
  return branches.filter((branch) => branch.type !== 'null')
}
