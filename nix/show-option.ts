import * as z from 'zod'
import { jsonSchema } from '../src/core/json.js'
import type { EvaluationRequest, Nix, OptionQuestion } from '../src/core/nix.js'
import type { Run } from '../src/core/run.js'
import type { EvaluatorParts } from './evaluate.js'
import { evaluationError, needsWritableStore, parseNixError } from './evaluation-errors.js'
import { evaluationText, ownNixFolder } from './evaluation-input.js'
import { checkExpressionFiles } from './expression-files.js'
import { expectSuccess } from './nix-command.js'
import { isUnbornStore } from './nix-store-choice.js'
import { withTemporaryStore } from './temporary-store.js'

const Path = z.array(z.string())
const Shown = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('option'),
    value: jsonSchema,
    type: z.string(),
    description: z.string().nullable(),
    isDefault: z.boolean(),
    definitions: z.array(z.object({ file: z.string(), value: jsonSchema })),
  }),
  z.object({ kind: z.literal('set'), names: Path }),
  z.object({ kind: z.literal('absent'), at: Path, known: Path }),
  z.object({
    kind: z.literal('facts'),
    facts: z.array(z.object({ option: Path, value: jsonSchema, priority: z.number(), counts: z.boolean() })),
  }),
  z.object({ kind: z.literal('other') }),
])
const Output = z.object({ names: Path, shown: z.record(z.string(), Shown) })

const tenMinutes = 600_000
const what = 'evaluate the option'

/** Creates the look at one option, which evaluates nothing else and writes nothing. */
export function createOptionReader(parts: EvaluatorParts): Nix['showOption'] {
  const cwd = parts.cwd ?? process.cwd()

  return async (request, question, run) => {
    checkExpressionFiles(request.files, cwd)
    const unborn = isUnbornStore(await parts.command.store())
    const dry = await attempt(
      request,
      question,
      { remote: unborn ? 'dummy://' : undefined, write: false },
      run,
    )
    if (dry !== undefined) return dry
    const written = await withTemporaryStore((remote) =>
      attempt(request, question, { remote, write: true }, run),
    )
    if (written === undefined) throw new Error('an evaluation in a temporary store needs another store')
    return written
  }

  /** Returns undefined where the evaluation must write. */
  async function attempt(
    request: EvaluationRequest,
    { path, machine, physical }: OptionQuestion,
    store: { readonly remote: string | undefined; readonly write: boolean },
    run: Run,
  ): Promise<Awaited<ReturnType<Nix['showOption']>> | undefined> {
    const { files, deployment, args, flags, searchPath } = request
    const input = evaluationText(
      {
        ...{ files, physical: request.physical, deployment, mode: 'shape', only: null, exclude: [] },
        optionKeys: parts.providers.flatMap(({ optionKey }) => optionKey ?? []),
        providerModules: parts.providers.flatMap(({ optionsNix }) => optionsNix ?? []),
        ...{ refused: [], batch: null, option: { path, machine: machine ?? null, physical } },
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
    const { names, shown } = Output.parse(JSON.parse(expectSuccess(result, what)))
    return { names, shown: new Map(Object.entries(shown)) }
  }
}
