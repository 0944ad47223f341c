import type { NetworkDefinition } from '../core/definition.js'
import { usageError } from '../core/errors.js'
import type { MachineName } from '../core/names.js'
import { mapEach } from '../core/several-errors.js'
import { suggest } from '../core/suggest.js'

/** Choice of the machines for a command. `on` and `include`/`exclude` exclude each other. */
export interface Selection {
  /** Patterns: `a,b*,@tag,!x` */
  readonly on?: string | undefined
  readonly include?: readonly string[] | undefined
  readonly exclude?: readonly string[] | undefined
}

export interface Selectable {
  readonly name: MachineName
  /** Tags; `undefined` means unknown, because the definition is not valid. */
  readonly tags: readonly string[] | undefined
}

/** Lists the selectable machines of a network, including those whose definition is not valid, by name. */
export function machinesIn(network: NetworkDefinition): Selectable[] {
  return [
    ...[...network.machines.values()].map(({ name, options }) => ({ name, tags: options.tags })),
    ...[...(network.failed?.keys() ?? [])].map((name) => ({ name, tags: undefined })),
  ]
}

/**
 * Selects machines in the given order; an empty selection selects all. A pattern that matches no machine is an error,
 * because a typing mistake must not mean "none" or "all".
 */
export function selectMachines(machines: readonly Selectable[], selection: Selection): MachineName[] {
  const { wanted, unwanted } = patternsOf(selection)
  const matched = mapEach([...wanted, ...unwanted], (pattern) => matching(machines, pattern))
  const listed = wanted.length > 0
  const chosen = new Set(matched.slice(0, wanted.length).flat())
  const dropped = new Set(matched.slice(wanted.length).flat())
  const names = machines
    .map((machine) => machine.name)
    .filter((name) => (!listed || chosen.has(name)) && !dropped.has(name))
  if (names.length === 0 && (listed || unwanted.length > 0)) {
    throw usageError('the selection matches no machine', { hint: `the machines are ${namesOf(machines)}` })
  }
  refuseUnsure(machines, names, unwanted)
  return names
}

/** Refuses `!@tag` if a machine with unknown tags may have the tag. */
function refuseUnsure(
  machines: readonly Selectable[],
  names: readonly MachineName[],
  unwanted: readonly string[],
): void {
  const pattern = unwanted.find((each) => each.startsWith('@'))
  const unsure = machines.find((machine) => machine.tags === undefined && names.includes(machine.name))
  if (pattern === undefined || unsure === undefined) return
  throw usageError(
    `the definition of machine '${unsure.name}' is not valid, so hydra-ops cannot look for its tag '${pattern.slice(1)}'`,
    {
      machine: unsure.name,
      hint: `correct the definition, or exclude the machine: --on '…,!${unsure.name}'`,
    },
  )
}

interface Patterns {
  readonly wanted: readonly string[]
  readonly unwanted: readonly string[]
}

function patternsOf(selection: Selection): Patterns {
  const { on, include = [], exclude = [] } = selection
  if (on === undefined) return { wanted: include, unwanted: exclude }
  if (include.length > 0 || exclude.length > 0) {
    throw usageError('--on cannot be used together with --include or --exclude', {
      hint: "write the whole selection with --on, for example --on 'web*,!web3'",
    })
  }
  const parts = on.split(',').map((part) => part.trim())
  if (parts.some((part) => ['', '!', '@', '!@'].includes(part))) {
    throw usageError(`--on '${on}' has an empty part`, { hint: "for example --on 'web,db*,@tag,!web3'" })
  }
  return {
    wanted: parts.filter((part) => !part.startsWith('!')),
    unwanted: parts.filter((part) => part.startsWith('!')).map((part) => part.slice(1).trim()),
  }
}

function matching(machines: readonly Selectable[], pattern: string): MachineName[] {
  const byTag = pattern.startsWith('@')
  const glob = globToRegExp(byTag ? pattern.slice(1) : pattern)
  const found = machines.filter((machine) =>
    byTag ? machine.tags?.some((tag) => glob.test(tag)) : glob.test(machine.name),
  )
  if (found.length === 0) throw nothingMatches(machines, pattern, byTag)
  return found.map((machine) => machine.name)
}

function nothingMatches(machines: readonly Selectable[], pattern: string, byTag: boolean): Error {
  const candidates = byTag
    ? [...new Set(machines.flatMap((machine) => (machine.tags ?? []).map((tag) => `@${tag}`)))]
    : machines.map((machine) => machine.name)
  const what = byTag ? `no machine has the tag '${pattern.slice(1)}'` : `no machine is called '${pattern}'`
  const close = suggest(pattern, candidates)
  const there = byTag ? candidates.join(', ') : namesOf(machines)
  const hint =
    close === undefined ? `the choices are: ${there === '' ? 'none' : there}` : `did you mean '${close}'?`
  const untold = byTag ? machines.filter((machine) => machine.tags === undefined) : []
  if (untold.length === 0) return usageError(what, { hint })
  return usageError(what, {
    hint: `${hint}\nmachines with an invalid definition, whose tags are unknown: ${namesOf(untold)}`,
  })
}

function namesOf(machines: readonly Selectable[]): string {
  const shown = machines.slice(0, 20).map((machine): string => machine.name)
  if (machines.length > shown.length) shown.push(`… (${machines.length} in all)`)
  return shown.length === 0 ? 'none' : shown.join(', ')
}

/** Translates a glob: `*` matches anything, `?` one character. */
function globToRegExp(glob: string): RegExp {
  const source = glob
    .replace(/[\\^$.|+()[\]{}]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.')
  return new RegExp(`^${source}$`, 'su')
}
