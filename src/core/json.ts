import * as z from 'zod'

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json }

export const jsonSchema: z.ZodType<Json> = z.json() as z.ZodType<Json>

/** Compares JSON without regard to the order of keys. One side went through the state file, the other came from Nix. */
export function sameJson(a: unknown, b: unknown): boolean {
  return sortedText(a) === sortedText(b)
}

function sortedText(value: unknown): string | undefined {
  return JSON.stringify(value, (_, each: unknown) =>
    typeof each === 'object' && each !== null && !Array.isArray(each)
      ? Object.fromEntries(Object.entries(each).sort(([x], [y]) => (x < y ? -1 : 1)))
      : each,
  )
}
