import { failure } from '../core/errors.js'
import type { MachineName } from '../core/names.js'
import type { SeenKey } from './keys.js'

/** Names the owners of a key that the machine lacks; `undefined` if the machine has both user and group. */
export function missingOwner(
  key: { readonly user: string; readonly group: string },
  has: { readonly user: boolean; readonly group: boolean },
): string | undefined {
  const missing = [
    ...(has.user ? [] : [`no user '${key.user}'`]),
    ...(has.group ? [] : [`no group '${key.group}'`]),
  ]
  return missing.length === 0 ? undefined : missing.join(' and ')
}

/** Throws an error that names every key whose user or group the machine lacks. */
export function refuseMissingOwners(machine: MachineName, seen: readonly SeenKey[]): void {
  const unowned = seen.filter((each) => each.missingOwner !== undefined)
  const [first] = unowned
  if (first === undefined) return
  const reasons = unowned.map(
    ({ key, missingOwner: what }) => `key ${JSON.stringify(key.name)}: the machine has ${what}`,
  )
  const option = first.missingOwner?.startsWith('no user') === true ? 'user' : 'group'
  throw failure('KEY_OWNER', `machine '${machine}': ${reasons.join('; ')}`, {
    machine,
    hint: `correct deployment.keys.${first.key.name}.${option}; or create the ${option} with deployment.activate, a package of deployment.aptPackages, or a set-up task`,
  })
}
