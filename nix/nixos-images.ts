import * as z from 'zod'
import { usageError } from '../src/core/errors.js'
import type { NixosParts } from '../src/core/image.js'
import { MachineName, StorePath } from '../src/core/names.js'
import type { EvaluationRequest, Nix } from '../src/core/nix.js'
import type { Run } from '../src/core/run.js'
import type { EvaluatorParts } from './evaluate.js'
import { evaluationError, needsWritableStore, parseNixError } from './evaluation-errors.js'
import { evaluationText, ownNixFolder } from './evaluation-input.js'
import { checkExpressionFiles } from './expression-files.js'
import { expectSuccess } from './nix-command.js'
import { isUnbornStore } from './nix-store-choice.js'
import { withTemporaryStore } from './temporary-store.js'

const Image = z.object({
  system: z.string(),
  /** Null for a platform without the image. */
  parts: z.object({ derivation: StorePath, output: StorePath }).nullable(),
})
const Output = z.object({ images: z.record(z.string(), Image.nullable()) })

const tenMinutes = 600_000
const what = 'evaluate the image nixos'

type Images = Awaited<ReturnType<Nix['nixosImages']>>

/** Creates the evaluation of the image `nixos` of some machines. Only a request to write makes derivations. */
export function createImageEvaluator(parts: EvaluatorParts): Nix['nixosImages'] {
  const cwd = parts.cwd ?? process.cwd()

  return async (request, machines, run) => {
    checkExpressionFiles(request.files, cwd)
    if (request.mode === 'write') return required(await attempt(request, machines, { write: true }, run))
    const unborn = isUnbornStore(await parts.command.store())
    const remote = unborn ? { remote: 'dummy://' } : {}
    const dry = await attempt(request, machines, { write: false, ...remote }, run)
    if (dry !== undefined) return dry
    return required(
      await withTemporaryStore((temporary) =>
        attempt(request, machines, { write: true, remote: temporary }, run),
      ),
    )
  }

  /** Returns undefined where the evaluation must write. */
  async function attempt(
    request: EvaluationRequest,
    machines: readonly MachineName[],
    store: { readonly write: boolean; readonly remote?: string },
    run: Run,
  ): Promise<Images | undefined> {
    const { files, physical, deployment, args, flags, searchPath } = request
    const input = evaluationText(
      {
        ...{ files, physical, deployment, mode: 'shape', only: null, exclude: [], images: machines },
        optionKeys: parts.providers.flatMap(({ optionKey }) => optionKey ?? []),
        providerModules: parts.providers.flatMap(({ optionsNix }) => optionsNix ?? []),
        ...{ refused: [], batch: null },
      },
      args,
    )
    const result = await parts.command.run(
      'nix-instantiate',
      [
        ...['--eval', '--strict', '--json', '--show-trace'],
        store.write ? '--read-write-mode' : '--readonly-mode',
        ...searchPath.flatMap((entry) => ['-I', entry]),
        '-',
      ],
      {
        ...{ signal: run.signal, timeoutMs: parts.deadlineMs ?? tenMinutes, what, stdin: input.text },
        flags: { ...flags, showTrace: false },
        extraEnv: store.remote === undefined ? {} : { NIX_REMOTE: store.remote },
      },
    )
    if (result.kind === 'exited' && result.code !== 0) {
      const error = parseNixError(result.stderr, ownNixFolder())
      if (needsWritableStore(error) && !store.write) return undefined
      throw evaluationError(error, result.stderr, { cwd, showTrace: flags.showTrace, input, files })
    }
    const { images } = Output.parse(JSON.parse(expectSuccess(result, what)))
    return new Map(
      Object.entries(images).flatMap(([name, image]) =>
        image === null ? [] : [[MachineName.parse(name), partsOf(name, image)] as const],
      ),
    )
  }
}

function required(images: Images | undefined): Images {
  if (images === undefined) throw new Error('an evaluation that may write needs another store')
  return images
}

function partsOf(machine: string, { system, parts }: z.infer<typeof Image>): NixosParts {
  if (parts === null) {
    throw usageError(
      `machine '${machine}': image 'nixos' exists for x86_64-linux alone, and the machine is ${system}`,
      { machine, hint: 'name an image of that platform in the options of the provider' },
    )
  }
  return { id: `nixos-${hashOf(parts.derivation)}`, ...parts }
}

/** Returns the first digits of the hash of a store path. */
function hashOf(path: StorePath): string {
  return path.slice('/nix/store/'.length).slice(0, 12)
}
