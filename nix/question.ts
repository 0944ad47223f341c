import type * as z from 'zod'
import type { EvaluationRequest } from '../src/core/nix.js'
import type { Run } from '../src/core/run.js'
import type { EvaluatorParts } from './evaluate.js'
import { evaluationError, needsWritableStore, parseNixError } from './evaluation-errors.js'
import { type EvaluationInput, evaluationText, ownNixFolder } from './evaluation-input.js'
import { checkExpressionFiles } from './expression-files.js'
import { withSource } from './git-source.js'
import { expectSuccess } from './nix-command.js'
import { isUnbornStore } from './nix-store-choice.js'
import { withTemporaryStore } from './temporary-store.js'

/** A question that `eval.nix` answers in place of the evaluation of the network. */
export interface Question<T> {
  readonly asked: Pick<EvaluationInput, 'option' | 'images'>
  readonly schema: z.ZodType<T>
  /** The action, for error messages. */
  readonly what: string
  /** Whether the answer names derivations, which are written to the user's store. */
  readonly writes: boolean
}

interface Store {
  readonly write: boolean
  readonly remote?: string
}

const tenMinutes = 600_000

/**
 * Answers a question by an evaluation of the expression. A question that writes nothing to the user's store uses
 * a temporary store if Nix must write.
 */
export async function askExpression<T>(
  parts: EvaluatorParts,
  request: EvaluationRequest,
  question: Question<T>,
  run: Run,
): Promise<T> {
  checkExpressionFiles(request.files, cwdOf(parts))
  if (question.writes) return required(await attempt(parts, request, question, { write: true }, run))
  const unborn = isUnbornStore(await parts.command.store())
  const dryStore = { write: false, ...(unborn ? { remote: 'dummy://' } : {}) }
  const dry = await attempt(parts, request, question, dryStore, run)
  if (dry !== undefined) return dry.answer
  return required(
    await withTemporaryStore((remote) => attempt(parts, request, question, { write: true, remote }, run)),
  )
}

/** Evaluates the expression once; returns undefined if the evaluation needs a writable store. */
async function attempt<T>(
  parts: EvaluatorParts,
  request: EvaluationRequest,
  { asked, schema, what }: Question<T>,
  store: Store,
  run: Run,
): Promise<{ readonly answer: T } | undefined> {
  // A fetch of the source from git needs an existing store.
  if (request.checkout !== undefined && store.remote === 'dummy://') return undefined
  const place = { remote: store.remote, cwd: cwdOf(parts) }
  const sourced = await withSource(parts.command, request, place, run)
  const { files, physical, deployment, args, flags, searchPath } = sourced
  const input = evaluationText(
    {
      ...{ files, physical, deployment, mode: 'shape', only: null, exclude: [] },
      optionKeys: parts.providers.flatMap(({ optionKey }) => optionKey ?? []),
      providerModules: parts.providers.flatMap(({ optionsNix }) => optionsNix ?? []),
      ...{ refused: [], batch: null, ...asked },
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
    const said = sourced.restore(result.stderr)
    const error = parseNixError(said, ownNixFolder())
    if (needsWritableStore(error) && !store.write) return undefined
    const { showTrace } = flags
    throw evaluationError(error, said, { cwd: place.cwd, showTrace, input, files: sourced.written })
  }
  return { answer: schema.parse(JSON.parse(sourced.restoreJson(expectSuccess(result, what)))) }
}

function required<T>(answered: { readonly answer: T } | undefined): T {
  if (answered === undefined) throw new Error('an evaluation that may write needs another store')
  return answered.answer
}

function cwdOf({ cwd }: EvaluatorParts): string {
  return cwd ?? process.cwd()
}
