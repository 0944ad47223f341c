import { expect, it } from 'vitest'
import { explanations } from '../../src/machine/explain-failure.js'
import { shippedFolders, sourceFiles } from './source-files.js'

const text = sourceFiles(shippedFolders, ['.ts'])
  .filter(({ path }) => path !== 'src/operations/explain-failure.ts')
  .map((file) => file.text)
  .join('\n')

it('every error that doctor explains can occur', () => {
  const codes = Object.keys(explanations)
  expect(codes.filter((code) => !text.includes(`'${code}'`))).toEqual([])
})

it('every finding that explains an error can be found', () => {
  const ids = new Set(Object.values(explanations).flat())
  const found = (id: string) => text.includes(`'${id}`) || text.includes(`\`${id}`)
  expect([...ids].filter((id) => !found(id))).toEqual([])
})
