import { failure, type OpsError, usageError } from '../src/core/errors.js'
import type { DeploymentUuid } from '../src/core/names.js'
import { suggest } from '../src/core/suggest.js'
import type { HeadRead } from './state-file.js'

/** One folder of the store, by what concerns the deployment alone. */
export type Entry = { readonly uuid: DeploymentUuid } & HeadRead

/** Shorter beginnings of a UUID are more likely a mistyped name. */
const shortestPrefix = 4

/** The deployment that a name, a UUID or the beginning of one means. `origin` says who named it, if not the user just now. */
export function findDeployment(
  reference: string,
  entries: readonly Entry[],
  origin?: string,
): DeploymentUuid {
  const named = entries.filter((entry) => nameOf(entry) === reference)
  if (named.length > 0) return theOne(reference, named)
  const prefix = reference.toLowerCase()
  const matching = entries.filter(({ uuid }) => uuid.startsWith(prefix))
  const exact = matching.find(({ uuid }) => uuid === prefix)
  if (exact !== undefined) return usable(exact)
  if (prefix.length >= shortestPrefix && matching.length > 0) return theOne(reference, matching)
  throw notFound(reference, entries, origin)
}

/** What is meant when nothing is said: the only one there is. */
export function onlyDeployment(entries: readonly Entry[]): DeploymentUuid {
  const [first, ...others] = entries
  if (first === undefined) {
    throw usageError('there is no deployment yet', { hint: 'hydra-ops create EXPRESSION.nix -d NAME' })
  }
  if (others.length === 0) return usable(first)
  throw usageError(`there are ${entries.length} deployments; say which one with -d: ${listed(entries)}`, {
    hint: 'a default can be kept: hydra-ops config set deployment NAME',
  })
}

/** The name; of one that cannot be read, the name in its backup. */
export function nameOf(entry: Entry): string | undefined {
  return entry.kind === 'whole' ? entry.head.name : entry.backup?.head.name
}

function theOne(reference: string, matching: readonly Entry[]): DeploymentUuid {
  const [first, ...others] = matching
  if (first !== undefined && others.length === 0) return usable(first)
  throw usageError(`'${reference}' means more than one deployment: ${listed(matching)}`, {
    hint: 'give more of the UUID',
  })
}

function usable(entry: Entry): DeploymentUuid {
  if (entry.kind === 'broken') throw entry.error
  return entry.uuid
}

function notFound(reference: string, entries: readonly Entry[], origin: string | undefined): OpsError {
  // It may be the name of one whose state and backup are both unreadable.
  const lost = entries.find((entry) => entry.kind === 'broken' && entry.backup === undefined)
  if (lost?.kind === 'broken') {
    return failure(
      'STATE_DAMAGED',
      `no deployment that can be read is called '${reference}'; ${lost.error.message}`,
      {
        cause: lost.error,
        ...(lost.error.hint === undefined ? {} : { hint: lost.error.hint }),
      },
    )
  }
  const names = entries.flatMap((entry) => nameOf(entry) ?? [])
  const meant = suggest(reference, names)
  return usageError(
    `there is no deployment '${reference}'${origin === undefined ? '' : ` (named by ${origin})`}`,
    {
      hint:
        meant !== undefined
          ? `did you mean '${meant}'?`
          : entries.length === 0
            ? 'there is none yet: hydra-ops create EXPRESSION.nix -d NAME'
            : `there are: ${listed(entries)}`,
    },
  )
}

function listed(entries: readonly Entry[]): string {
  const label = (entry: Entry) => {
    const name = nameOf(entry)
    return name === undefined ? entry.uuid : `${name} (${entry.uuid.slice(0, 8)})`
  }
  return entries.map(label).sort().join(', ')
}
