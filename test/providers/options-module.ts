import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { z } from 'zod'
import { innerSchema, optionSchema } from '../../scripts/options/option-schema.js'
import { packageRoot } from '../../src/core/package-root.js'
import type { ScratchNix } from '../fakes/scratch-nix.js'

const fixture = join(packageRoot(), 'test', 'fixtures', 'nixpkgs')
const nixpkgs = process.env.HYDRA_OPS_NIXPKGS ?? fixture

export type Options = Readonly<Record<string, unknown>>

/** The options of a provider, as it declares them twice: for Nix and as a schema. */
interface Declared {
  readonly nix: ScratchNix
  /** The key below `deployment`. */
  readonly key: string
  readonly schema: z.ZodType
}

const Evaluated = z.array(z.object({ success: z.boolean(), value: z.unknown() }))

/** Evaluates a module once with each set of options; returns the results or errors. */
async function evaluate({ nix, key }: Declared, module: string, all: readonly Options[]) {
  const values = join(nix.folder, 'values.json')
  writeFileSync(values, JSON.stringify(all))
  const expression = `let
    lib = import ${nixpkgs}/lib;
    evaluated = options: (lib.evalModules { modules = [ ${module} { deployment.${key} = options; } ]; }).config.deployment.${key};
    attempt = options: let config = evaluated options; in builtins.tryEval (builtins.deepSeq config config);
  in map attempt (builtins.fromJSON (builtins.readFile ${values}))`
  const json = await nix.nix('nix-instantiate', ['--eval', '--strict', '--json', '-'], expression)
  return Evaluated.parse(JSON.parse(json))
}

/** Returns a sentence about each set of options that a module and the schema treat differently. */
export async function differences(
  declared: Declared,
  module: string,
  all: readonly Options[],
): Promise<string[]> {
  const evaluated = await evaluate(declared, module, all)
  expect(evaluated).toHaveLength(all.length)
  return all.flatMap((options, index) => {
    const of = JSON.stringify(options)
    const byModule = evaluated[index]
    const bySchema = declared.schema.safeParse(options)
    if (byModule?.success !== bySchema.success) {
      return [`${of}: the schema ${bySchema.success ? 'takes' : 'refuses'} it and the module does not`]
    }
    if (!bySchema.success) return []
    const [left, right] = [declared.schema.safeParse(byModule.value).data, bySchema.data].map((each) =>
      JSON.stringify(sorted(each)),
    )
    return left === right ? [] : [`${of}: the module makes ${left} of it, the schema ${right}`]
  })
}

/** Returns the value with the attributes of its sets in order. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, each]) => [key, sorted(each)]),
  )
}

const port = { host: 8080, guest: 80 }

/** Values of every type, at and beyond the bounds of common options. */
export const commonValues: readonly unknown[] = [
  ...[null, true, false],
  ...[-1, 0, 1, 63, 64, 65, 512, 513, 1024, 65_535, 65_536, 65_537, 1.5],
  ...['', ' ', 'debian-12', '/srv/x.qcow2', 'two\nlines', 'none', 'nocloud', 'tcp', '1'],
  ...['ab'.repeat(32), 'AB'.repeat(32), 'ab'.repeat(33), `${'ab'.repeat(32)}\n`],
  ...[[], [''], [1], [null], [[]]],
  ...[[port], [{ ...port, proto: 'tcp' }], [{ ...port, proto: 'udp' }], [{ ...port, proto: null }]],
  ...[[{ host: 0, guest: 80 }], [{ host: 1, guest: 65_535 }], [{ host: 80_000, guest: 80 }], [{ host: 80 }]],
  ...[[{ host: '80', guest: 80 }], [{ ...port, more: 1 }], [{ host: 8080.5, guest: 80 }]],
  {},
]

/** Defines the tests that hold for the options of each provider. */
export function optionsContract(
  declared: Declared,
  module: string,
  valuesFor: (name: string) => readonly unknown[],
): void {
  const { properties = {} } = optionSchema(declared.schema)
  const names = Object.keys(properties)

  it('gives every option the default that the schema gives it', async () => {
    expect(await differences(declared, module, [{}])).toEqual([])
  })

  it.each(names)('accepts and refuses the same values for %s as the schema', async (name) => {
    const all = valuesFor(name).map((value) => ({ [name]: value }))
    expect(await differences(declared, module, all)).toEqual([])
    // The comparison proves nothing without both accepted and refused values.
    expect(new Set(all.map((options) => declared.schema.safeParse(options).success)).size).toBe(2)
  })

  it('accepts the example of every option, as the schema does', async () => {
    const examples = Object.entries(properties).map(([name, option]) => ({
      [name]: innerSchema(option)?.examples?.[0],
    }))
    expect(examples.filter((example) => !declared.schema.safeParse(example).success)).toEqual([])
    expect(await differences(declared, module, examples)).toEqual([])
  })

  it('refuses a name that the schema does not have', async () => {
    const [unknown] = await evaluate(declared, module, [{ memorysize: 2048 }])
    expect(unknown?.success).toBe(false)
  })
}
