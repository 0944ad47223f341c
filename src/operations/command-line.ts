import { shellQuote } from '../core/shell-quote.js'

/** Flags whose second value may be private. */
const withValue = new Set(['--arg', '--argstr', '--option'])

/** Returns the command as typed, for the journal and the lock; leaves out values of arguments. */
export function commandLine(argv: readonly string[]): string {
  const words = argv.map((word, at) => (withValue.has(argv[at - 2] ?? '') ? '…' : shellQuote(word)))
  return ['hydra-ops', ...words].join(' ')
}
