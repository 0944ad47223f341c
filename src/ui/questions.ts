import type { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import type { Questions } from '../core/context.js'
import { withinDeadline } from '../core/deadline.js'
import { exitCodes, failure, interrupted, OpsError, throwIfAborted, usageError } from '../core/errors.js'
import { onAbort } from '../core/on-abort.js'
import { printable } from './printable.js'

export interface QuestionOptions {
  /** Whether a person can answer: standard input and standard error are terminals. */
  readonly interactive: boolean
  readonly stdin: InStream
  readonly signal: AbortSignal
  /** Clears the moving lines; the returned function restores them. */
  pause(): Promise<() => void>
}

export type InStream = Readable & { readonly isTTY?: boolean | undefined }

/** The time limit for piped input. The writer may itself ask a person, as a password store does. */
const pipedMs = 10 * 60_000

/**
 * Asks questions on standard error, one at a time. A question without a terminal throws an error; no answer is assumed.
 */
export function createQuestions(options: QuestionOptions): Questions {
  let turn: Promise<unknown> = Promise.resolve()
  const inTurn = <T>(ask: () => Promise<T>): Promise<T> => {
    const mine = turn.then(async () => {
      const resume = await options.pause()
      try {
        return await ask()
      } catch (error) {
        throw isGoneAway(error) ? interrupted('interrupted at a question') : error
      } finally {
        resume()
      }
    })
    turn = mine.catch(() => undefined)
    return mine
  }
  const where = { output: process.stderr, signal: options.signal }
  return {
    interactive: options.interactive,
    confirm: async (question) => {
      const message = printable(question)
      if (!options.interactive) throw refusal(message, 'use --yes to confirm')
      return inTurn(async () => {
        const { confirm } = await import('@inquirer/prompts')
        return confirm({ message, default: false }, where)
      })
    },
    secret: async (question) => {
      const message = printable(question)
      if (!options.interactive) throw refusal(message, 'run the command in a terminal')
      return inTurn(async () => {
        const { password } = await import('@inquirer/prompts')
        return password({ message }, where)
      })
    },
    text: async (question, { suggestion, wrong }) => {
      const message = printable(question)
      if (!options.interactive) throw refusal(message, 'run the command in a terminal')
      return inTurn(async () => {
        const { input } = await import('@inquirer/prompts')
        const validate = (answer: string) => wrong(answer) ?? true
        return input({ message, validate, ...(suggestion === '' ? {} : { default: suggestion }) }, where)
      })
    },
    choose: async (question, choices) => {
      const message = printable(question)
      if (!options.interactive) throw refusal(message, 'run the command in a terminal')
      return inTurn(async () => {
        const { select } = await import('@inquirer/prompts')
        return select({ message, choices: choices.map(({ value, text }) => ({ value, name: text })) }, where)
      })
    },
    piped: (what, hint) => readPiped(what, hint, options),
  }
}

async function readPiped(what: string, hint: string, { stdin, signal }: QuestionOptions): Promise<string> {
  if (stdin.isTTY === true)
    throw usageError(`cannot read the ${what} from standard input, which is a terminal`, { hint })
  throwIfAborted(signal)
  return withinDeadline(signal, pipedMs, async (deadline) => {
    const stopListening = onAbort(deadline.signal, () => {
      stdin.destroy()
    })
    try {
      return (await buffer(stdin)).toString('utf8')
    } catch (error) {
      throwIfAborted(signal)
      if (deadline.expired())
        throw failure(
          'DEADLINE',
          `cannot read the ${what}: standard input did not end within ${pipedMs / 60_000} minutes`,
        )
      throw failure('STDIN', `cannot read the ${what} from standard input`, { cause: error })
    } finally {
      stopListening()
    }
  })
}

function refusal(question: string, hint: string): Error {
  return new OpsError('NO_TERMINAL', exitCodes.usage, `there is no terminal for the question: ${question}`, {
    hint,
  })
}

/** Tells whether Ctrl-C at the prompt, or our own signal, ended the question. */
function isGoneAway(error: unknown): boolean {
  return error instanceof Error && ['ExitPromptError', 'AbortPromptError'].includes(error.name)
}
