import * as z from 'zod'
import { jsonSchema } from '../src/core/json.js'
import type { Nix } from '../src/core/nix.js'
import type { EvaluatorParts } from './evaluate.js'
import { askExpression } from './question.js'

const Path = z.array(z.string())
const Shown = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('option'),
    value: jsonSchema,
    type: z.string(),
    description: z.string().nullable(),
    isDefault: z.boolean(),
    definitions: z.array(z.object({ file: z.string(), value: jsonSchema })),
  }),
  z.object({ kind: z.literal('set'), names: Path }),
  z.object({ kind: z.literal('absent'), at: Path, known: Path }),
  z.object({
    kind: z.literal('facts'),
    facts: z.array(z.object({ option: Path, value: jsonSchema, priority: z.number(), counts: z.boolean() })),
  }),
  z.object({ kind: z.literal('other') }),
])
const Output = z.object({ names: Path, shown: z.record(z.string(), Shown) })

/** Creates the function that shows one option; it evaluates nothing else, and writes nothing. */
export function createOptionReader(parts: EvaluatorParts): Nix['showOption'] {
  return async (request, { path, machine, physical }, run) => {
    const option = { path, machine: machine ?? null, physical }
    const question = { asked: { option }, schema: Output, what: 'evaluate the option', writes: false }
    const { names, shown } = await askExpression(parts, request, question, run)
    return { names, shown: new Map(Object.entries(shown)) }
  }
}
