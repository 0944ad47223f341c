import type { AnyProvider } from '../core/bind-provider.js'
import type { Ops } from '../core/context.js'
import type { MachineRecord } from '../core/deployment.js'
import { failure, OpsError } from '../core/errors.js'
import type { BaseImage, ListedImage } from '../core/image.js'
import type { Run } from '../core/run.js'

export function listImages(ops: Ops): Promise<ListedImage[]> {
  return ops.images.list()
}

export function buildImage(ops: Ops, reference: string, refresh: boolean, run: Run): Promise<BaseImage> {
  return ops.images.ensure(reference, run, { refresh })
}

/** Removes an image that no machine uses. */
export async function removeImage(ops: Ops, idOrReference: string): Promise<ListedImage[]> {
  return ops.images.remove(idOrReference, await imagesInUse(ops))
}

/**
 * Lists the ids of images that machines of any deployment use. Their disks are overlays, so the removal of an image
 * destroys the disks. The list must be complete, so an unreadable deployment is an error.
 */
export async function imagesInUse(ops: Ops): Promise<ReadonlySet<string>> {
  const [damaged] = await ops.store.problems()
  if (damaged !== undefined) {
    throw failure(
      'IMAGE_IN_USE',
      `hydra-ops cannot determine which machines use an image: ${damaged.message}`,
      {
        hint: damaged instanceof OpsError && damaged.hint !== undefined ? damaged.hint : 'hydra-ops list',
        cause: damaged,
      },
    )
  }
  const providers = new Map(ops.providers.all().map((provider) => [provider.name, provider]))
  return new Set(
    (await ops.store.list()).flatMap((record) =>
      Object.entries(record.machines).flatMap(([name, machine]) => {
        const id = imageOf(name, machine, providers.get(machine.provider))
        return id === undefined ? [] : [id]
      }),
    ),
  )
}

function imageOf(
  name: string,
  machine: MachineRecord,
  provider: AnyProvider | undefined,
): string | undefined {
  const { handle, intent } = machine
  const unknown = (why: string, hint: string) =>
    failure('IMAGE_IN_USE', `hydra-ops cannot determine the image of machine '${name}': ${why}`, {
      machine: name,
      hint,
    })
  if (handle === undefined && intent?.action === 'create') {
    throw unknown(
      'the creation of the machine has not finished',
      'run hydra-ops deploy, or hydra-ops destroy',
    )
  }
  if (handle === undefined) return undefined
  if (provider !== undefined) return provider.imageId(handle)
  throw unknown(`provider ${machine.provider} is not loaded`, 'hydra-ops config get plugins')
}
