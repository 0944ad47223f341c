import { dirname } from 'node:path'
import type { Ops } from '../core/context.js'
import { failure, messageOf, OpsError } from '../core/errors.js'
import type { BaseImage, NixosContent, NixosParts, WantedImage } from '../core/image.js'
import type { MachineName } from '../core/names.js'
import type { NixFlags } from '../core/nix.js'
import type { Run } from '../core/run.js'
import { bytesOf } from './copy-closure.js'

/** Builds the image that a machine needs, if the image does not exist. */
export function makeImage(
  ops: Ops,
  machine: MachineName,
  { reference, nixos }: WantedImage,
  how: { readonly nix: NixFlags; readonly refresh: boolean },
  run: Run,
): Promise<BaseImage> {
  const { refresh } = how
  if (nixos === undefined) return ops.images.ensure(reference, run, { refresh })
  const content = () => builtContent(ops, machine, nixos, how.nix, run)
  return ops.images.ensure(reference, run, { refresh, nixos: { id: nixos.id, content } })
}

/** Builds the system and the boot loader of an image, and describes their closure. */
async function builtContent(
  ops: Ops,
  machine: MachineName,
  { id, derivation, output }: NixosParts,
  flags: NixFlags,
  run: Run,
): Promise<NixosContent> {
  const built = (await ops.nix.build(new Map([[machine, derivation]]), flags, run)).get(machine)
  const folder = await ops.nix.folderOf(output)
  if (built === undefined || 'error' in built || folder === undefined) {
    const error = built !== undefined && 'error' in built ? built.error : undefined
    throw failure(
      'IMAGE_BUILD',
      `machine '${machine}': cannot build the system of image 'nixos': ${error === undefined ? 'the build left no output in the Nix store' : messageOf(error)}`,
      {
        machine,
        ...(error instanceof OpsError && error.detail !== undefined ? { detail: error.detail } : {}),
        hint: "correct the nixpkgs of the machine; add a builder for x86_64-linux if this host has another platform; or name another image in the provider's options",
      },
    )
  }
  const closure = await ops.nix.closure(output, run)
  const bytes = bytesOf(closure, closure.paths)
  const registration = await ops.nix.registration(closure.paths, run)
  const paths = closure.paths.map((path) => path.slice('/nix/store/'.length))
  return { id, storeFolder: dirname(folder), paths, bytes, registration }
}
