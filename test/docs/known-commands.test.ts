import { describe, expect, it } from 'vitest'
import { verbs } from '../../src/commands/verbs.js'
import { runCli } from '../commands/run-cli.js'
import { userDocuments } from './documents.js'
import { codeBlocks, codeSpans } from './markdown.js'
import { commandsIn } from './shell-commands.js'

/** The error of a valid command line in these tests: its verb begins, but has no context. */
const begins = 'the command line opened the context'

/** Returns the error of the real command-line parser for these words; undefined = no error. */
async function refusal(words: readonly string[]): Promise<string | undefined> {
  const [first = ''] = words
  // A placeholder such as `VERB` is not a verb; `--version` needs no verb.
  if (/^[A-Z…]+$/.test(first) || first === '--version') return undefined
  const { code, stderr } = await runCli(words)
  return code === 0 || stderr.includes(begins) ? undefined : stderr.trim()
}

/** Returns the arguments of each hydra-ops call in a script: [a, b] for `hydra-ops a b | x`. */
function callsIn(script: string): string[][] {
  return commandsIn(script).flatMap(([program = '', ...words]) => {
    if (program === 'hydra-ops') return [words]
    // These programs run another program, which may be hydra-ops.
    const at = ['timeout', 'env', 'time'].includes(program) ? words.indexOf('hydra-ops') : -1
    return at < 0 ? [] : [words.slice(at + 1)]
  })
}

/** The changelog may name verbs that no longer exist. */
const documents = userDocuments().filter(({ path }) => path !== 'CHANGELOG.md')
const shell = new Set(['', 'sh', 'console'])

describe.each(documents.map(({ path, text }) => [path, text] as const))('%s', (_, text) => {
  it('has no block with an unknown command', async () => {
    const wrong: string[] = []
    for (const block of codeBlocks(text).filter(({ language }) => shell.has(language)))
      for (const words of callsIn(block.text)) {
        const why = await refusal(words)
        if (why !== undefined) wrong.push(`line ${block.line}: hydra-ops ${words.join(' ')}: ${why}`)
      }
    expect(wrong).toEqual([])
  })

  it('names no unknown verb or flag', async () => {
    const wrong: string[] = []
    for (const { line, text: span } of codeSpans(text).filter((each) => /^hydra-ops\s/.test(each.text)))
      for (const words of callsIn(span)) {
        const why = await refusal(words)
        // A code span in a sentence may omit a verb's arguments.
        if (why !== undefined && !/missing required argument|the action of .* is missing/.test(why))
          wrong.push(`line ${line}: ${span}: ${why}`)
      }
    expect(wrong).toEqual([])
  })
})

it.each(verbs.map(({ name }) => [name]))('the examples of %s --help are existing commands', async (verb) => {
  const { stdout } = await runCli([verb, '--help'])
  const [, examples = ''] = stdout.split(/\nExamples?:\n/)
  const calls = callsIn(examples)
  expect(calls).not.toEqual([])
  for (const words of calls) expect([words, await refusal(words)]).toEqual([words, undefined])
})

describe('an unknown command', () => {
  it.each([
    ['of another verb', 'hydra-ops dploy -d lab', "there is no verb 'dploy'"],
    ['of another flag', 'hydra-ops deploy --dry-rum', "unknown option '--dry-rum'"],
    ['of a flag without its value', 'hydra-ops deploy -d', 'argument missing'],
    ['of another part of a verb', 'hydra-ops cache kee -d lab', "'kee' is invalid"],
    ['in a substitution', 'x="$(hydra-ops hydra uri)"', "hydra-ops hydra has no action 'uri'"],
    ['with too many arguments', 'hydra-ops delete a b -d lab', 'too many arguments'],
  ])('is found: %s', async (_, script, why) => {
    const found = await Promise.all(callsIn(script).map(refusal))
    expect(found.join()).toContain(why)
  })

  it('is not read from the arguments of another program', () => {
    expect(callsIn('git clone URL hydra-ops && cd hydra-ops')).toEqual([])
  })
})
