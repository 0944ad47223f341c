import type { Ops } from '../core/context.js'
import type { BaseImage, ImageInfo } from '../core/image.js'
import type { Run } from '../core/run.js'

export function listImages(ops: Ops): Promise<ImageInfo[]> {
  return ops.images.list()
}

export function buildImage(ops: Ops, reference: string, refresh: boolean, run: Run): Promise<BaseImage> {
  return ops.images.ensure(reference, run, { refresh })
}

/** Removes an image that no machine was made from. */
export function removeImage(ops: Ops, idOrReference: string): Promise<ImageInfo[]> {
  return ops.images.remove(idOrReference, imagesInUse(ops))
}

/** Ids of the images that machines of any deployment stand on: their disks are overlays. */
export function imagesInUse(ops: Ops): ReadonlySet<string> {
  const providers = new Map(ops.providers.all().map((provider) => [provider.name, provider]))
  const ids = ops.store.list().flatMap((record) =>
    Object.values(record.machines).flatMap((machine) => {
      const provider = providers.get(machine.provider)
      const id = machine.handle === undefined ? undefined : provider?.imageId(machine.handle)
      return id === undefined ? [] : [id]
    }),
  )
  return new Set(ids)
}
