import { shellQuote } from '../core/shell-quote.js'

/** Flags whose second value may be what the user would not want written down. */
const withValue = new Set(['--arg', '--argstr', '--option'])

/** The command as it was given, for the journal and the lock; values of arguments are left out. */
export function commandLine(argv: readonly string[]): string {
  const words = argv.map((word, at) => (withValue.has(argv[at - 2] ?? '') ? '…' : shellQuote(word)))
  return ['hydra-ops', ...words].join(' ')
}
