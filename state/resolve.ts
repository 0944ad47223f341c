import { failure, type OpsError, usageError } from '../src/core/errors.js'
import type { DeploymentUuid } from '../src/core/names.js'
import { suggest } from '../src/core/suggest.js'
import type { HeadRead } from './state-file.js'

/** A deployment in the store, with the content of its state.json. */
export type Entry = { readonly uuid: DeploymentUuid } & HeadRead

/** Minimum length of a UUID's beginning; a shorter text is more likely a mistyped name. */
const shortestPrefix = 4

/**
 * Finds a deployment by its name, its UUID or the beginning of its UUID. `origin` names the source of the text, unless
 * the user just typed it.
 */
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

/** Returns the only deployment, for commands that name none. */
export function onlyDeployment(entries: readonly Entry[]): DeploymentUuid {
  const [first, ...others] = entries
  if (first === undefined) {
    throw usageError('there is no deployment yet', { hint: 'hydra-ops create EXPRESSION.nix -d NAME' })
  }
  if (others.length === 0) return usable(first)
  throw usageError(`there are ${entries.length} deployments; choose one with -d: ${listed(entries)}`, {
    hint: 'hydra-ops config set deployment NAME sets the default deployment',
  })
}

/** Returns the deployment's name; the name of an unreadable deployment comes from its backup. */
export function nameOf(entry: Entry): string | undefined {
  return entry.kind === 'whole' ? entry.head.name : entry.backup?.head.name
}

function theOne(reference: string, matching: readonly Entry[]): DeploymentUuid {
  const [first, ...others] = matching
  if (first !== undefined && others.length === 0) return usable(first)
  throw usageError(`'${reference}' matches more than one deployment: ${listed(matching)}`, {
    hint: 'give more characters of the UUID',
  })
}

function usable(entry: Entry): DeploymentUuid {
  if (entry.kind === 'broken') throw entry.error
  return entry.uuid
}

function notFound(reference: string, entries: readonly Entry[], origin: string | undefined): OpsError {
  // The text may be the name of a deployment whose state and backup are both unreadable.
  const lost = entries.find((entry) => entry.kind === 'broken' && entry.backup === undefined)
  if (lost?.kind === 'broken') {
    return failure(
      'STATE_DAMAGED',
      `no readable deployment has the name '${reference}'; ${lost.error.message}`,
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
            ? 'create a deployment first: hydra-ops create EXPRESSION.nix -d NAME'
            : `the deployments are ${listed(entries)}`,
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
