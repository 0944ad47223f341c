import * as z from 'zod'
import { usageError } from '../../core/errors.js'
import { type Json, jsonSchema, sameJson } from '../../core/json.js'

/** An input of a jobset, in Hydra's words. */
export interface SpecInput {
  readonly type: string
  readonly value: string
}

export interface SpecWish {
  /** `one`: one jobset of all machines; `each`: one jobset of each machine, as Morph's users have them. */
  readonly jobsets: 'one' | 'each'
  readonly machines: readonly string[]
  /** The machines that left the network since the last time. */
  readonly gone: readonly string[]
  /** The name of the one jobset. */
  readonly jobset: string
  /** The path of the folder with the files inside the repository. */
  readonly folder: string
  readonly inputs: Readonly<Record<string, SpecInput>>
}

const Spec = z.record(z.string(), z.record(z.string(), jsonSchema))

/**
 * Makes hydra/spec.json, which lists the jobsets of a declarative project. An existing file keeps all that it says:
 * jobsets that it lacks are added, and jobsets of machines that are gone are left out.
 */
export function renderSpec(wish: SpecWish, existing: string | undefined, shown: string): string {
  const known = existing === undefined ? {} : readSpec(existing, shown)
  const wanted = jobsetsOf(wish)
  const gonePaths = new Set<Json | undefined>(wish.gone.map((name) => `${wish.folder}/${name}.nix`))
  const kept = Object.entries(known).filter(
    ([name, { nixexprpath }]) => Object.hasOwn(wanted, name) || !gonePaths.has(nixexprpath),
  )
  const spec = { ...wanted, ...Object.fromEntries(kept) }
  const names = Object.keys(spec).sort()
  const sorted = Object.fromEntries(names.map((name) => [name, spec[name] ?? {}]))
  return existing !== undefined && sameJson(known, sorted)
    ? existing
    : `${JSON.stringify(sorted, undefined, 2)}\n`
}

/** Returns the inputs that jobsets of an existing file give to a network. */
export function inputsIn(existing: string | undefined, shown: string): ReadonlySet<string> {
  const known = Object.values(existing === undefined ? {} : readSpec(existing, shown))
  return new Set(
    known.flatMap(({ inputs }) => (typeof inputs === 'object' && inputs !== null ? Object.keys(inputs) : [])),
  )
}

function jobsetsOf(wish: SpecWish): Record<string, Record<string, Json>> {
  const { jobsets, machines, jobset, folder } = wish
  if (jobsets === 'one')
    return { [jobset]: jobsetOf(wish, `${folder}/default.nix`, 'All machines of the network', 300) }
  for (const name of machines) {
    const other = machines.find((each) => each !== name && jobsetName(each) === jobsetName(name))
    if (other !== undefined)
      throw usageError(`machines '${name}' and '${other}' would have one jobset, '${jobsetName(name)}'`, {
        machine: name,
        hint: 'give one of the machines another name',
      })
  }
  return Object.fromEntries(
    machines.map((name) => [
      jobsetName(name),
      jobsetOf(wish, `${folder}/${name}.nix`, `Machine ${name}`, 3600),
    ]),
  )
}

/** Returns the name of a machine's jobset, in which Hydra allows no dot. */
function jobsetName(machine: string): string {
  return machine.replaceAll('.', '-')
}

function jobsetOf(wish: SpecWish, path: string, description: string, checkinterval: number) {
  const inputs = Object.entries(wish.inputs).map(
    ([name, { type, value }]) => [name, { type, value, emailresponsible: false }] as const,
  )
  return {
    ...{ enabled: 1, hidden: false, description, nixexprinput: 'network', nixexprpath: path },
    ...{ checkinterval, schedulingshares: 100, enableemail: false, emailoverride: '', keepnr: 3 },
    inputs: Object.fromEntries(inputs),
  }
}

function readSpec(text: string, shown: string): Record<string, Record<string, Json>> {
  const spec = Spec.safeParse(jsonOf(text))
  if (spec.success) return spec.data
  throw usageError(`${shown} is no list of jobsets: expected a JSON object of objects`, {
    hint: 'mend the file, or move it away; hydra-ops hydra jobs init then writes a new one',
  })
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
