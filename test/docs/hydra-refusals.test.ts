import { expect, it } from 'vitest'
import { sourceFiles } from '../architecture/source-files.js'
import { readDocument } from './documents.js'

/** Parts of hydra-ops that talk to a Hydra or set up builders. */
const folders = ['src/hydra', 'src/setup/builders']
const aboutHydra = sourceFiles(['src/deploy', 'src/operations'], ['.ts']).filter(({ path }) =>
  /^src\/\w+\/[\w-]*hydra[\w.-]*$/.test(path),
)
const files = [...sourceFiles(folders, ['.ts']), ...aboutHydra]

/** Clashes of flags, and answers of Hydra that begin with its URL; neither needs a row. */
const withoutRow = [/cannot be combined/, /^--url: expected/, /\/current-user: /]

interface Refusal {
  readonly path: string
  /** The message as it stands in the source. */
  readonly message: string
  /** The longest part of the message without a value. */
  readonly part: string
}

/** Lists the messages of the errors that a file throws. */
function refusalsIn({ path, text }: { readonly path: string; readonly text: string }): Refusal[] {
  const thrown =
    /(?:usageError\(\s*|failure\(\s*'[A-Z_]+',\s*)(?:`((?:[^`\\]|\\.)*)`|'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")/g
  return [...text.matchAll(thrown)].flatMap(([, ...given]) => {
    const message = given.find((each) => each !== undefined) ?? ''
    if (withoutRow.some((each) => each.test(message))) return []
    const parts = message
      .split(/\$\{(?:[^{}]|\{[^}]*\})*\}/)
      // A row that began with `hydra-ops` would be read as a command.
      .map((part) => part.replaceAll(/^(?:hydra-ops )?[\s':,;]*|[\s':,;]+$/g, ''))
      .filter((part) => part.length > 8 && part !== 'machine')
      .sort((a, b) => b.length - a.length)
    return parts[0] === undefined ? [] : [{ path, message, part: parts[0] }]
  })
}

const refusals = files.flatMap(refusalsIn)

it('the parts about Hydra throw many errors', () => {
  expect(refusals.length).toBeGreaterThan(60)
})

it.each(refusals)('the message of an error about Hydra has a row: $path: $message', ({ part }) => {
  expect(readDocument('docs/troubleshooting.md')).toContain(part)
})
