import { posix } from 'node:path'
import * as z from 'zod'
import { usageError } from '../../core/errors.js'
import { type Json, jsonSchema, sameJson } from '../../core/json.js'

/** An input of a jobset, in Hydra's terms. */
export interface SpecInput {
  readonly type: string
  readonly value: string
}

export interface SpecOptions {
  /** `one`: one jobset for all machines; `each`: one jobset for each machine, as users of Morph have them. */
  readonly jobsets: 'one' | 'each'
  readonly machines: readonly string[]
  /** The machines that left the network since the files were last written. */
  readonly gone: readonly string[]
  /** The name of the only jobset, if `jobsets` is `one`. */
  readonly jobset: string
  /** Path of the folder with the files, relative to the repository's root. */
  readonly folder: string
  /** The inputs of new jobsets, used where no existing jobset of the network has a value. */
  readonly inputs: Readonly<Record<string, SpecInput>>
  /** The inputs that all jobsets of the network get, in place of current values. */
  readonly replaced: Readonly<Record<string, SpecInput>>
}

const Spec = z.record(z.string(), z.record(z.string(), jsonSchema))
type Spec = z.infer<typeof Spec>
type Inputs = Readonly<Record<string, Json>>

/**
 * Renders hydra/spec.json, which lists the jobsets of a declarative project. Keeps the user's values. Adds missing
 * jobsets, and removes jobsets of absent machines.
 */
export function renderSpec(options: SpecOptions, existing: string | undefined, shown: string): string {
  const known = existing === undefined ? {} : readSpec(existing, shown)
  const inputs = { ...completed(options.inputs), ...neighbourInputs(known, options.folder) }
  const wanted = jobsetsOf(options, inputs)
  const gonePaths = new Set<Json | undefined>(options.gone.map((name) => `${options.folder}/${name}.nix`))
  const kept = Object.entries(known).filter(
    ([name, { nixexprpath }]) => Object.hasOwn(wanted, name) || !gonePaths.has(nixexprpath),
  )
  const spec: Spec = { ...wanted, ...Object.fromEntries(kept) }
  const replaced = completed(options.replaced)
  const names = Object.keys(spec).sort()
  const sorted = Object.fromEntries(
    names.map((name) => [name, withInputs(spec[name] ?? {}, replaced, options.folder)]),
  )
  return existing !== undefined && sameJson(known, sorted)
    ? existing
    : `${JSON.stringify(sorted, undefined, 2)}\n`
}

/** Returns the inputs that a new jobset would copy from an existing jobset; undefined without such inputs. */
export function presentInputs(
  existing: string | undefined,
  folder: string,
  shown: string,
): Inputs | undefined {
  return existing === undefined ? undefined : neighbourInputs(readSpec(existing, shown), folder)
}

/** Returns the inputs of the network's first jobset whose input `network` has an address. */
function neighbourInputs(known: Spec, folder: string): Inputs | undefined {
  return Object.values(known)
    .filter((jobset) => isOfNetwork(jobset, folder))
    .map(inputsOf)
    .find(({ network }) => {
      const value = isSet(network) ? network.value : undefined
      return typeof value === 'string' && value.trim() !== ''
    })
}

/** Tells whether a jobset evaluates one of the files that hydra-ops writes. */
function isOfNetwork({ nixexprpath }: Spec[string], folder: string): boolean {
  return typeof nixexprpath === 'string' && posix.dirname(nixexprpath) === folder
}

function inputsOf({ inputs }: Spec[string]): Inputs {
  return isSet(inputs) ? inputs : {}
}

function isSet(value: Json | undefined): value is { [key: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Replaces inputs of a jobset of the network; an input with equal type and value keeps the user's other keys. */
function withInputs(jobset: Spec[string], replaced: Inputs, folder: string): Spec[string] {
  const present = inputsOf(jobset)
  const changed = Object.entries(replaced).filter(([name, input]) => {
    const before = present[name]
    return !(isSet(before) && isSet(input) && before.type === input.type && before.value === input.value)
  })
  if (!isOfNetwork(jobset, folder) || changed.length === 0) return jobset
  return { ...jobset, inputs: { ...present, ...Object.fromEntries(changed) } }
}

/** Adds the key that Hydra requires in each input. */
function completed(inputs: Readonly<Record<string, SpecInput>>): Inputs {
  return Object.fromEntries(
    Object.entries(inputs).map(([name, { type, value }]) => [name, { type, value, emailresponsible: false }]),
  )
}

/** Returns the names of all inputs that the jobsets of an existing file have. */
export function inputsIn(existing: string | undefined, shown: string): ReadonlySet<string> {
  const known = Object.values(existing === undefined ? {} : readSpec(existing, shown))
  return new Set(known.flatMap((jobset) => Object.keys(inputsOf(jobset))))
}

function jobsetsOf({ jobsets, machines, jobset, folder }: SpecOptions, inputs: Inputs): Spec {
  if (jobsets === 'one')
    return { [jobset]: jobsetOf(inputs, `${folder}/default.nix`, 'All machines of the network', 300) }
  for (const name of machines) {
    const other = machines.find((each) => each !== name && jobsetName(each) === jobsetName(name))
    if (other !== undefined)
      throw usageError(`machines '${name}' and '${other}' would share jobset '${jobsetName(name)}'`, {
        machine: name,
        hint: 'give one of the machines another name',
      })
  }
  return Object.fromEntries(
    machines.map((name) => [
      jobsetName(name),
      jobsetOf(inputs, `${folder}/${name}.nix`, `Machine ${name}`, 3600),
    ]),
  )
}

/** Returns the name of a machine's jobset. Hydra allows no dots in that name. */
function jobsetName(machine: string): string {
  return machine.replaceAll('.', '-')
}

function jobsetOf(inputs: Inputs, path: string, description: string, checkinterval: number) {
  return {
    ...{ enabled: 1, hidden: false, description, nixexprinput: 'network', nixexprpath: path },
    ...{ checkinterval, schedulingshares: 100, enableemail: false, emailoverride: '', keepnr: 3 },
    inputs: { ...inputs },
  }
}

function readSpec(text: string, shown: string): Spec {
  const spec = Spec.safeParse(jsonOf(text))
  if (spec.success) return spec.data
  throw usageError(`${shown} is not a list of jobsets: expected a JSON object of objects`, {
    hint: 'correct the file, or move it away; hydra-ops hydra jobs init then writes a new one',
  })
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
