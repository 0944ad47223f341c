import type { Ops } from '../core/context.js'
import { usageError } from '../core/errors.js'
import { type BaseImage, nixosImage } from '../core/image.js'
import type { NixFlags } from '../core/nix.js'
import type { Run } from '../core/run.js'
import { makeImage } from '../deploy/make-image.js'
import { dryRunSession } from '../machine/session.js'
import { allocateMachines } from '../network/allocate.js'
import { evaluateShape } from '../network/evaluate.js'
import { evaluateImages } from '../network/nixos-images.js'

export interface NixosImagesRequest {
  readonly deployment: string | undefined
  readonly refresh: boolean
  readonly nix: NixFlags
}

/** Builds the `nixos` images for machines of a deployment; a deploy does the same for new machines. */
export async function buildNixosImages(
  ops: Ops,
  { deployment: name, refresh, nix }: NixosImagesRequest,
  run: Run,
): Promise<BaseImage[]> {
  const known = await ops.store.resolve(name)
  const deployment = dryRunSession(ops.files, known)
  const options = { args: {}, searchPath: [], nix }
  const { network } = await evaluateShape(ops, deployment.record, options, () => [], run)
  // The disks of a new machine are allocated only in memory.
  await allocateMachines(ops, deployment, network)
  const session = { record: deployment.record, writable: true }
  const machines = [...network.machines.values()]
  const wanted = await evaluateImages(ops, session, { ...options, existing: true }, machines, run)
  if (wanted.size === 0) {
    throw usageError(
      `no machine of deployment '${known.name ?? known.uuid}' is created from image '${nixosImage}'`,
      {
        hint: 'the image is for NixOS machines that a provider creates and whose definition names no other image',
      },
    )
  }
  const made = new Map<string, BaseImage>()
  for (const [machine, nixos] of wanted) {
    if (made.has(nixos.id)) continue
    const image = { reference: nixosImage, nixos }
    made.set(nixos.id, await makeImage(ops, machine, image, { nix, refresh }, run))
  }
  return [...made.values()]
}
