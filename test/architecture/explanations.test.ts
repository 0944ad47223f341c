import { expect, it } from 'vitest'
import { explanations } from '../../src/machine/explain-failure.js'
import { builtInProviders } from './built-in-providers.js'
import { shippedFolders, sourceFiles } from './source-files.js'

const files = sourceFiles(shippedFolders, ['.ts'])
const known = [
  { where: 'src/machine/explain-failure.ts', explains: explanations },
  ...(await builtInProviders()).map(({ name, explanations: explains = {} }) => ({
    where: `providers/${name}/index.ts`,
    explains,
  })),
]

/** Returns the text of all files except one, which only explains the errors of the other files. */
const textWithout = (where: string) =>
  files
    .filter(({ path }) => path !== where)
    .map((file) => file.text)
    .join('\n')

it('every error that doctor explains can occur', () => {
  const unknown = known.flatMap(({ where, explains }) => {
    const text = textWithout(where)
    return Object.keys(explains).filter((code) => !text.includes(`'${code}'`))
  })
  expect(unknown).toEqual([])
})

it('every finding that explains an error can be found', () => {
  const unknown = known.flatMap(({ where, explains }) => {
    const text = textWithout(where)
    const found = (id: string) => text.includes(`'${id}`) || text.includes(`\`${id}`)
    return [...new Set(Object.values(explains).flat())].filter((id) => !found(id))
  })
  expect(unknown).toEqual([])
})
