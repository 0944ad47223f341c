import type { Ops } from '../core/context.js'
import type { MachineDefinition } from '../core/definition.js'
import { type NixosParts, nixosImage } from '../core/image.js'
import type { MachineName } from '../core/names.js'
import type { Run } from '../core/run.js'
import type { DeploymentSession } from '../core/session.js'
import { type EvaluateOptions, evaluationRequest } from './evaluate.js'

/**
 * Evaluates the image `nixos` for the machines that will be created from the image. Existing machines cost nothing,
 * unless they may be recreated.
 */
export async function evaluateImages(
  ops: Ops,
  deployment: Pick<DeploymentSession, 'record' | 'writable'>,
  options: EvaluateOptions & { readonly existing: boolean },
  machines: readonly MachineDefinition[],
  run: Run,
): Promise<ReadonlyMap<MachineName, NixosParts>> {
  const wanted = machines.filter(({ name, os, provider, providerName }) => {
    if (!options.existing && deployment.record.machines[name]?.handle !== undefined) return false
    return os === 'nixos' && ops.providers.named(providerName).imageReference(provider, os) === nixosImage
  })
  if (wanted.length === 0) return new Map()
  const mode = deployment.writable ? 'write' : 'read'
  const request = evaluationRequest(ops, deployment.record, options, mode)
  const names = wanted.map(({ name }) => name)
  return ops.nix.nixosImages(request, names, run)
}
