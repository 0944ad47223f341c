import * as z from 'zod'
import { usageError } from '../src/core/errors.js'
import type { NixosParts } from '../src/core/image.js'
import { MachineName, StorePath } from '../src/core/names.js'
import type { Nix } from '../src/core/nix.js'
import type { EvaluatorParts } from './evaluate.js'
import { askExpression } from './question.js'

const Image = z.object({
  system: z.string(),
  /** Parts of the image; null for a platform that has no image. */
  parts: z.object({ derivation: StorePath, output: StorePath }).nullable(),
})
const Output = z.object({ images: z.record(z.string(), Image.nullable()) })

/**
 * Creates the function that evaluates the `nixos` image of some machines. Only a request in mode `write` creates
 * derivations.
 */
export function createImageEvaluator(parts: EvaluatorParts): Nix['nixosImages'] {
  return async (request, machines, run) => {
    const writes = request.mode === 'write'
    const question = {
      asked: { images: machines },
      schema: Output,
      what: 'evaluate the image nixos',
      writes,
    }
    const { images } = await askExpression(parts, request, question, run)
    return new Map(
      Object.entries(images).flatMap(([name, image]) =>
        image === null ? [] : [[MachineName.parse(name), partsOf(name, image)] as const],
      ),
    )
  }
}

function partsOf(machine: string, { system, parts }: z.infer<typeof Image>): NixosParts {
  if (parts === null) {
    throw usageError(
      `machine '${machine}': image 'nixos' exists for x86_64-linux only, and the machine is ${system}`,
      { machine, hint: 'name an image for that platform in the options of the provider' },
    )
  }
  return { id: `nixos-${hashOf(parts.derivation)}`, ...parts }
}

/** Returns the first characters of the hash in a store path. */
function hashOf(path: StorePath): string {
  return path.slice('/nix/store/'.length).slice(0, 12)
}
