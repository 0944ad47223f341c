import type { Ops } from '../core/context.js'
import { type OpsError, usageError } from '../core/errors.js'
import { type Json, jsonSchema } from '../core/json.js'
import type { NixFlags, PhysicalMachine, ShownOption } from '../core/nix.js'
import { optionName, optionPath } from '../core/option-name.js'
import type { MachineOption } from '../core/reports.js'
import type { Run } from '../core/run.js'
import { suggest } from '../core/suggest.js'
import { dryRunSession } from '../machine/session.js'
import { allocateMachines } from '../network/allocate.js'
import { definitionIn, evaluateShape, evaluationRequest } from '../network/evaluate.js'

export interface ShowOptionRequest {
  readonly deployment: string | undefined
  /** The option as Nix writes it; undefined with `physical`. */
  readonly option: string | undefined
  readonly machine: string | undefined
  /** Whether to show the facts that the provider gives to the configuration. */
  readonly physical: boolean
  readonly nix: NixFlags
}

/** Evaluates one option of a machine, or of every machine, with its definitions and their files. Writes nothing. */
export async function showOption(ops: Ops, request: ShowOptionRequest): Promise<MachineOption[]> {
  const path = request.option === undefined ? [] : optionPath(request.option)
  if (path === undefined) {
    throw usageError(`${JSON.stringify(request.option)} is not a name of an option`, {
      hint: 'write names as Nix does, such as services.nginx.virtualHosts."www.example.org".locations',
    })
  }
  const run: Run = { signal: ops.signal, log: () => {} }
  const options = { args: {}, searchPath: [], nix: request.nix }
  const deployment = dryRunSession(ops.files, await ops.store.resolve(request.deployment))
  const { network } = await evaluateShape(ops, deployment.record, options, () => [], run)
  // The addresses of a new machine are allocated only in memory.
  await allocateMachines(ops, deployment, network)
  const question = { path, machine: request.machine, physical: request.physical }
  const asked = evaluationRequest(ops, deployment.record, options, 'shape')
  const { names, shown } = await ops.nix.showOption(asked, question, run)
  if (request.machine !== undefined && !names.includes(request.machine))
    throw noMachine(request.machine, names)
  return [...shown].map(([name, answer]): MachineOption => {
    if (answer.kind === 'absent') throw noOption(name, path, answer)
    if (answer.kind !== 'other') return { machine: name, ...answer }
    const machine = [...network.machines.keys()].find((each) => each === name)
    const facts = asked.physical[name] ?? {}
    if (request.physical) return { machine: name, kind: 'facts', facts: factsOf(facts) }
    if (machine === undefined) {
      const [broken] = [...(network.failed ?? [])].flatMap(([each, error]) => (each === name ? [error] : []))
      throw broken ?? noMachine(name, names)
    }
    return { machine: name, ...debianOption(ops, path, definitionIn(network, machine), facts) }
  })
}

function noMachine(name: string, names: readonly string[]): OpsError {
  const meant = suggest(name, names)
  return usageError(`there is no machine '${name}'`, {
    hint: meant === undefined ? `the machines are ${names.join(', ')}` : `did you mean '${meant}'?`,
  })
}

function noOption(
  machine: string,
  path: readonly string[],
  { at, known }: { readonly at: readonly string[]; readonly known: readonly string[] },
): OpsError {
  const wrong = path[at.length]
  const meant = wrong === undefined ? undefined : suggest(wrong, known)
  return usageError(`machine '${machine}': there is no option ${optionName(path)}`, {
    machine,
    hint:
      meant === undefined
        ? 'hydra-ops show-option with a shorter name lists the options below it'
        : `did you mean '${optionName([...at, meant])}'?`,
  })
}

/** Lists the addresses of a machine without NixOS modules. */
function factsOf(facts: PhysicalMachine) {
  return Object.entries(facts).flatMap(([name, value]) =>
    typeof value === 'string' ? [{ option: ['networking', name], value, priority: 900, counts: true }] : [],
  )
}

type Definition = ReturnType<typeof definitionIn>

/** Shows an option of a Debian machine, whose options hydra-ops has already read and completed. */
function debianOption(
  ops: Ops,
  path: readonly string[],
  definition: Definition,
  facts: PhysicalMachine,
): Exclude<ShownOption, { readonly kind: 'absent' | 'other' }> {
  const key = ops.providers.named(definition.providerName).optionKey
  const provided = key === undefined ? {} : { [key]: definition.provider }
  const { keys, ...options } = definition.options
  const shownKeys = Object.fromEntries(
    Object.entries(keys).map(([name, { destDir, user, group, permissions, uploadAt }]) => [
      name,
      { destDir, user, group, permissions, uploadAt },
    ]),
  )
  const addresses = Object.fromEntries(factsOf(facts).map(({ option, value }) => [option[1] ?? '', value]))
  const all = jsonSchema.parse(
    JSON.parse(
      JSON.stringify({ deployment: { ...options, ...provided, keys: shownKeys }, networking: addresses }),
    ),
  )
  const value = dig(definition.name, path, all)
  const name = optionName(path)
  const files = Object.entries(definition.origins).flatMap(([option, each]) =>
    option === name || option.startsWith(`${name}.`) || name.startsWith(`${option}.`) ? each : [],
  )
  return {
    kind: 'option',
    value,
    type: 'unknown',
    description: null,
    isDefault: files.length === 0,
    definitions: [...new Set(files)].map((file) => ({ file, value: null })),
  }
}

function dig(machine: string, path: readonly string[], from: Json): Json {
  let value = from
  for (const [index, part] of path.entries()) {
    const set = new Map<string, Json>(
      typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.entries(value) : [],
    )
    const inner = set.get(part)
    if (inner === undefined)
      throw noOption(machine, path, { at: path.slice(0, index), known: [...set.keys()] })
    value = inner
  }
  return value
}
