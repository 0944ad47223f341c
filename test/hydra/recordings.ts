import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import { type Json, jsonSchema } from '../../src/core/json.js'

/** An exchange with a real Hydra or nix-serve; see test/fixtures/hydra-recordings/README.md. */
export interface Recording {
  readonly name: string
  readonly request: Exchange['request']
  readonly response: Exchange['response']
}

const exchangeSchema = z.object({
  request: z.object({
    method: z.string(),
    path: z.string(),
    port: z.number(),
    headers: z.record(z.string(), z.string()),
    body: jsonSchema,
  }),
  response: z.object({
    status: z.number(),
    headers: z.record(z.string(), z.string()),
    body: jsonSchema,
  }),
})
type Exchange = z.infer<typeof exchangeSchema>

const folder = fileURLToPath(new URL('../fixtures/hydra-recordings', import.meta.url))

/** Returns all recordings by name. */
export function readRecordings(): ReadonlyMap<string, Recording> {
  const exchanges = join(folder, 'exchanges')
  return new Map(
    readdirSync(exchanges).map((file) => {
      const name = file.replace(/\.json$/, '')
      const text = readFileSync(join(exchanges, file), 'utf8')
      return [name, { name, ...exchangeSchema.parse(JSON.parse(text)) }]
    }),
  )
}

/** Returns the text of a recorded shell session. */
export function readTranscript(name: string): string {
  return readFileSync(join(folder, 'transcripts', `${name}.txt`), 'utf8')
}

/** Yields a value and every value below it. */
export function* valuesBelow(value: Json): Generator<Json> {
  yield value
  if (Array.isArray(value)) for (const each of value) yield* valuesBelow(each)
  else if (typeof value === 'object' && value !== null)
    for (const each of Object.values(value)) yield* valuesBelow(each)
}
