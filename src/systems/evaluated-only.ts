import type { MachineDefinition } from '../core/definition.js'
import { type OpsError, usageError } from '../core/errors.js'
import type { System } from './system.js'

/** Makes the error of a verb that would touch a machine whose system hydra-ops can only evaluate. */
export function notDeployable(names: readonly string[]): OpsError {
  const [only, ...others] = names
  const machines =
    others.length === 0 ? `machine '${only}'` : `machines ${names.map((name) => `'${name}'`).join(', ')}`
  return usageError(`${machines}: NixOS machines can be evaluated, but not deployed yet`, {
    ...(others.length === 0 && only !== undefined ? { machine: only } : {}),
    hint: 'hydra-ops plan and deploy --build-only work; --exclude leaves a machine out',
  })
}

/** Tells whether a deploy can touch the machine. */
export function isDeployable({ os }: Pick<MachineDefinition, 'os'>): boolean {
  return os === 'debian'
}

const refuse = () => {
  throw usageError('NixOS machines can be evaluated, but not deployed yet')
}

/** NixOS, as far as a plan needs it: nothing looks at the machine. */
export const evaluatedOnly: System = {
  ownerFile: '/var/lib/hydra-ops/owner',
  survey: async () => refuse(),
  refuseOther: refuse,
  look: async () => refuse(),
  planUnseen: () => [],
  contents: () => ({ files: {}, units: {} }),
  goesBack: true,
  activate: async () => refuse(),
  reattach: async () => refuse(),
  undoes: () => false,
}
