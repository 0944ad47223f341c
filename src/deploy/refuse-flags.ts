import type { NetworkDefinition } from '../core/definition.js'
import { usageError } from '../core/errors.js'
import type { MachineName } from '../core/names.js'
import { definitionIn } from '../network/evaluate.js'
import { systemOf } from '../systems/systems.js'
import type { DeployRequest } from './request.js'

/** Refuses flags that the system of a selected machine does not support, instead of ignoring the flags. */
export function refuseFlags(
  network: NetworkDefinition,
  wanted: readonly MachineName[],
  { mode, onDegraded }: DeployRequest,
): void {
  const flag = mode === 'switch' ? (onDegraded === undefined ? undefined : '--on-degraded') : `--${mode}`
  if (flag === undefined) return
  const names = wanted.filter((name) => !systemOf(definitionIn(network, name)).goesBack)
  const [first] = names
  if (first === undefined) return
  const which = names.length === 1 ? `machine '${first}'` : `machines ${names.join(', ')}`
  throw usageError(`${flag} is for NixOS machines, not for ${which}`, {
    hint: `exclude the other machines: --exclude ${names.join(' ')}`,
  })
}
