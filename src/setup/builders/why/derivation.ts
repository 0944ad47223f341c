import * as z from 'zod'

/** Requirements of a derivation for the machine that builds it. */
export interface Derivation {
  readonly path: string
  readonly system: string
  readonly features: readonly string[]
  /** Whether Nix prefers to build the derivation itself (`preferLocalBuild`). */
  readonly prefersLocal: boolean
  /** Whether the builder is a part of Nix (`builtin:fetchurl`). */
  readonly builtin: boolean
}

type Term = string | readonly Term[]

/** Attributes of a derivation with `__structuredAttrs`. */
const Structured = z.looseObject({
  requiredSystemFeatures: z.array(z.string()).catch([]).default([]),
  preferLocalBuild: z.boolean().catch(false).default(false),
})

/** Reads the text of a `.drv` file; returns `undefined` for any other text. */
export function readDerivation(path: string, text: string): Derivation | undefined {
  const fields = termOf(text) ?? []
  // A newer format has its version as the first field, so fields are counted from the end.
  const [system, builder, , env] = fields.slice(-4)
  if (typeof system !== 'string' || env === undefined || typeof env === 'string') return undefined
  const variables = new Map(env.flatMap(variable))
  const attributes = structured(variables.get('__json'))
  const builtin = typeof builder === 'string' && builder.startsWith('builtin:')
  return attributes === undefined
    ? {
        path,
        system,
        builtin,
        features: (variables.get('requiredSystemFeatures') ?? '').split(/\s+/).filter((each) => each !== ''),
        prefersLocal: variables.get('preferLocalBuild') === '1',
      }
    : {
        path,
        system,
        builtin,
        features: attributes.requiredSystemFeatures,
        prefersLocal: attributes.preferLocalBuild,
      }
}

function variable(pair: Term): [string, string][] {
  if (typeof pair === 'string') return []
  const [name, value] = pair
  return typeof name === 'string' && typeof value === 'string' ? [[name, value]] : []
}

function structured(json: string | undefined): z.infer<typeof Structured> | undefined {
  if (json === undefined) return undefined
  try {
    return Structured.safeParse(JSON.parse(json)).data
  } catch {
    return undefined
  }
}

const escapes: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t' }

/** Reads the arguments of the term `Name(…)`; returns `undefined` for a text that is not a complete term. */
function termOf(text: string): readonly Term[] | undefined {
  const open: Term[][] = [[]]
  const tokens = /[A-Za-z]+(?=\()|"([^"\\]*(?:\\[\s\S][^"\\]*)*)"|([([])|([)\]])|,/y
  const end = text.trimEnd().length
  while (tokens.lastIndex < end) {
    const [, quoted, begins, ends] = tokens.exec(text) ?? [undefined]
    if (tokens.lastIndex === 0) return undefined
    if (quoted !== undefined)
      open.at(-1)?.push(quoted.replaceAll(/\\([\s\S])/g, (_, mark: string) => escapes[mark] ?? mark))
    if (begins !== undefined) open.push([])
    if (ends !== undefined) {
      const list = open.pop()
      if (list === undefined || open.length === 0) return undefined
      open.at(-1)?.push(list)
    }
  }
  const [term] = open[0] ?? []
  return open.length === 1 && typeof term !== 'string' ? term : undefined
}
