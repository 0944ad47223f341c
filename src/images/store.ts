import { chmodSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import type { LocalCommands } from '../core/context.js'
import { messageOf, usageError } from '../core/errors.js'
import {
  type BaseImage,
  type ImageStore,
  type ListedImage,
  type NixosContent,
  nixosImage,
} from '../core/image.js'
import type { Run } from '../core/run.js'
import { suggest } from '../core/suggest.js'
import { aptSources } from './apt-sources.js'
import { buildDebian, filesBesideDisk } from './build-debian.js'
import { buildNixos } from './build-nixos.js'
import { exclusively } from './exclusive.js'
import { buildingFolder, removeBuilding, requireSpace, sweepUnfinished } from './folder.js'
import {
  download,
  examine,
  type ForeignReference,
  importFile,
  lookOf,
  parseForeign,
} from './foreign-image.js'
import { type ImageRecord, listStored, readImages, type StoredImage, toImageInfo } from './image-record.js'
import { contentId, type NewImage, placeImage } from './place-image.js'
import { type DebianRecipe, recipeHash, recipes } from './recipe.js'

export interface ImageStoreParts {
  /** The path `<state>/images`. */
  readonly root: string
  readonly local: Pick<LocalCommands, 'run' | 'spawnDuplex'>
  readonly env?: Readonly<Record<string, string | undefined>>
  /** The recipes to use. Default: all recipes. */
  readonly recipes?: readonly DebianRecipe[]
}

/** The bytes that a Debian image needs during its build, measured and rounded up. */
const buildBytes = 2.5 * 1024 ** 3

/**
 * Keeps base images on the operator host, each in a folder that is named after its id. An existing image never changes.
 */
export function createImageStore(parts: ImageStoreParts): ImageStore {
  const { root, local, env = process.env } = parts
  const known = parts.recipes ?? recipes

  const find = (reference: string, id?: string, recipe?: string): StoredImage | undefined => {
    const stored = readImages(root)
    if (id !== undefined) return stored.find(({ record }) => record.id === id)
    // The name alone does not determine the version of nixpkgs.
    if (reference === nixosImage) {
      return recipe === undefined ? undefined : stored.find(({ record }) => record.recipe === recipe)
    }
    const wanted = wantedBy(reference, known)
    return stored.find(({ record }) => matches(record, wanted))
  }

  const make = (wanted: Wanted, run: Run, target: string): Promise<NewImage> => {
    switch (wanted.kind) {
      case 'recipe':
        return makeDebian({ local, env, recipe: wanted.recipe, folder: target }, run)
      case 'nixos':
        return buildNixos({ local, content: wanted.content, folder: target, root: isRoot() }, run)
      default:
        return makeForeign({ local, foreign: wanted, folder: target }, run)
    }
  }

  return {
    list: async () => listStored(root),

    find: async (reference, id, recipe) => asBaseImage(find(reference, id, recipe)),

    ensure: async (reference, run, options = {}) => {
      const look = () =>
        options.refresh === true ? undefined : asBaseImage(find(reference, undefined, options.nixos?.id))
      const present = look()
      if (present !== undefined) return present
      // Nix may build for hours, and builds of other images do not wait for Nix.
      const content = await options.nixos?.content()
      const wanted: Wanted = content === undefined ? wantedBy(reference, known) : { kind: 'nixos', content }
      return exclusively(local, root, run, async () => {
        // Another process may have built the image while this process waited.
        const meanwhile = look()
        if (meanwhile !== undefined) return meanwhile
        await sweepUnfinished(local, root, run)
        const folder = buildingFolder(root, String(process.pid))
        mkdirSync(folder, { mode: 0o700 })
        try {
          if (wanted.kind === 'recipe') requireSpace(root, buildBytes, `build image ${reference}`)
          return await placeImage(root, folder, { ...(await make(wanted, run, folder)), reference })
        } catch (error) {
          // The first error matters more than a folder that stays until the next build.
          await removeBuilding(local, folder, run).catch((left: unknown) => run.log(messageOf(left)))
          throw error
        }
      })
    },

    remove: async (idOrReference, inUse) => {
      const all = listStored(root)
      const chosen = all.filter((image) => namesOf(image).includes(idOrReference))
      if (chosen.length === 0) throw noSuchImage(idOrReference, all)
      const free = chosen.filter(({ id }) => !inUse.has(id))
      if (free.length === 0) {
        throw usageError(`image '${idOrReference}' is in use by a machine`, {
          hint: 'hydra-ops list and hydra-ops info show the machines',
        })
      }
      for (const { id } of free) removeImage(root, id)
      return free
    },
  }
}

type Wanted =
  | { readonly kind: 'recipe'; readonly recipe: DebianRecipe }
  | { readonly kind: 'nixos'; readonly content: NixosContent }
  | ForeignReference

function wantedBy(reference: string, known: readonly DebianRecipe[]): Wanted {
  const recipe = known.find(({ name }) => name === reference)
  if (recipe !== undefined) return { kind: 'recipe', recipe }
  const foreign = parseForeign(reference)
  if (foreign !== undefined) return foreign
  if (reference === nixosImage) {
    throw usageError("image 'nixos' comes from the nixpkgs of a NixOS machine", {
      hint: 'hydra-ops image build nixos -d NAME',
    })
  }
  const names = known.map(({ name }) => name)
  const close = suggest(reference, names)
  throw usageError(`there is no image '${reference}'`, {
    hint:
      close === undefined
        ? `use ${names.join(', ')}, an absolute path, or a URL with its SHA-256`
        : `did you mean '${close}'?`,
  })
}

function matches(record: ImageRecord, wanted: Wanted): boolean {
  switch (wanted.kind) {
    case 'nixos':
      return false
    case 'recipe':
      return record.reference === wanted.recipe.name && record.recipe === recipeHash(wanted.recipe)
    case 'url':
      return record.id === contentId(wanted.sha256)
    case 'path': {
      const look = lookOf(wanted.path)
      return record.sources?.some((source) => isDeepStrictEqual(source, look)) === true
    }
  }
}

async function makeDebian(
  parts: Pick<ImageStoreParts, 'local'> & {
    readonly env: Readonly<Record<string, string | undefined>>
    readonly recipe: DebianRecipe
    readonly folder: string
  },
  run: Run,
): Promise<NewImage> {
  const { recipe } = parts
  const date = await buildDebian(
    {
      ...parts,
      sources: aptSources(recipe.suite, parts.env),
      root: isRoot(),
    },
    run,
  )
  const hash = recipeHash(recipe)
  return {
    id: `${recipe.name}-${hash}-${date}`,
    disk: 'disk.qcow2',
    format: 'qcow2',
    virtualBytes: recipe.virtualBytes,
    ...filesBesideDisk(recipe),
    ...(recipe.loader === 'qemu' ? { cmdline: recipe.cmdline } : {}),
    identity: recipe.loader === 'qemu' ? 'fwcfg' : 'nocloud',
    recipe: hash,
  }
}

function isRoot(): boolean {
  return process.getuid?.() === 0
}

/** Creates an image from a vendor's cloud image, which takes its identity from a seed disk. */
async function makeForeign(
  parts: Pick<ImageStoreParts, 'local'> & { readonly foreign: ForeignReference; readonly folder: string },
  run: Run,
): Promise<NewImage> {
  const { local, foreign, folder } = parts
  const disk = join(folder, 'disk')
  const name = foreign.kind === 'path' ? foreign.path : foreign.url
  const sources = foreign.kind === 'path' ? [lookOf(foreign.path)] : []
  let sha256: string
  if (foreign.kind === 'url') {
    await download(foreign, disk, run)
    sha256 = foreign.sha256
  } else {
    sha256 = await importFile(foreign.path, disk, run)
  }
  const { format, virtualBytes } = await examine(local, disk, name, run)
  chmodSync(disk, 0o444)
  return { id: contentId(sha256), disk: 'disk', format, virtualBytes, identity: 'nocloud', sources }
}

function asBaseImage(image: StoredImage | undefined): BaseImage | undefined {
  return image === undefined ? undefined : toImageInfo(image)
}

function removeImage(root: string, id: string): void {
  // The rename comes first, so that a half-removed image is never used as an image.
  const doomed = buildingFolder(root, `gone-${id}`)
  renameSync(join(root, id), doomed)
  rmSync(doomed, { recursive: true })
}

function namesOf(image: ListedImage): string[] {
  return 'reference' in image ? [image.id, image.reference] : [image.id]
}

function noSuchImage(wanted: string, all: readonly ListedImage[]): Error {
  const close = suggest(wanted, all.flatMap(namesOf))
  return usageError(`there is no image '${wanted}'`, {
    hint: close === undefined ? 'hydra-ops image list shows the images' : `did you mean '${close}'?`,
  })
}
