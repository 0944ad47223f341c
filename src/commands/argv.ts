import { usageError } from '../core/errors.js'
import { pairMark } from './flags.js'

/** Flags that may stand before the verb and take a value. */
const valued = new Set(['-d', '--deployment', '--state'])
/** Flags that take a name and a value, which commander does not support. */
const paired = new Set(['--arg', '--argstr', '--option'])

export interface SplitArgv {
  /** The verb; undefined if there is none. */
  readonly verb: string | undefined
  /** The words after the verb, with the flags that stood before the verb. */
  readonly rest: readonly string[]
}

/** Finds the verb, even after flags: `hydra-ops -d lab info` is `hydra-ops info -d lab`. */
export function splitArgv(argv: readonly string[]): SplitArgv {
  let at = 0
  while (at < argv.length) {
    const word = argv[at] ?? ''
    if (!word.startsWith('-') || word === '-') break
    at += valued.has(word) ? 2 : 1
  }
  const verb = argv[at]
  const before = argv.slice(0, at)
  const after = argv.slice(at + 1)
  if (verb === 'help') return { verb: after[0], rest: ['--help'] }
  return { verb, rest: [...before, ...after] }
}

/** Joins the two words after `--arg`, `--argstr` and `--option` into one. */
export function joinPairs(words: readonly string[]): string[] {
  const joined: string[] = []
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at] ?? ''
    if (word === '--') return [...joined, ...words.slice(at)]
    const [flag = '', inline] = word.split('=', 2)
    if (inline !== undefined && paired.has(flag)) {
      throw usageError(`${flag} takes the name as a separate word, not after "="`, {
        hint: `for example: ${flag} ${inline === '' ? 'name' : inline} value`,
      })
    }
    joined.push(word)
    if (!paired.has(word)) continue
    const [name, value] = words.slice(at + 1, at + 3)
    if (name === undefined || value === undefined) {
      throw usageError(`${word} needs a name and a value`, { hint: `for example: ${word} name value` })
    }
    joined.push(`${name}${pairMark}${value}`)
    at += 2
  }
  return joined
}
