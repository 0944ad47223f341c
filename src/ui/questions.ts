import type { Questions } from '../core/context.js'
import { exitCodes, interrupted, OpsError } from '../core/errors.js'
import { printable } from './printable.js'

export interface QuestionOptions {
  /** There is a person: standard input and error are terminals. */
  readonly interactive: boolean
  readonly signal: AbortSignal
  /** Clears the screen of what moves; the answer says how to bring it back. */
  pause(): Promise<() => void>
}

/** Questions on standard error, one at a time. Without a terminal each is refused rather than assumed. */
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
  return {
    confirm: async (question) => {
      const message = printable(question)
      if (!options.interactive) throw refusal(message, 'say --yes if that is what you want')
      return inTurn(async () => {
        const { confirm } = await import('@inquirer/prompts')
        return confirm({ message, default: false }, { output: process.stderr, signal: options.signal })
      })
    },
    secret: async (question) => {
      const message = printable(question)
      if (!options.interactive) throw refusal(message, 'run it in a terminal')
      return inTurn(async () => {
        const { password } = await import('@inquirer/prompts')
        return password({ message }, { output: process.stderr, signal: options.signal })
      })
    },
  }
}

function refusal(question: string, hint: string): Error {
  return new OpsError('NO_TERMINAL', exitCodes.usage, `there is no terminal to ask this on: ${question}`, {
    hint,
  })
}

/** Ctrl-C at the prompt, or our own signal. */
function isGoneAway(error: unknown): boolean {
  return error instanceof Error && ['ExitPromptError', 'AbortPromptError'].includes(error.name)
}
