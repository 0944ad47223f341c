import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { z } from 'zod'
import { top } from '../architecture/source-files.js'

const PackageJson = z.object({ files: z.array(z.string()) })

it('the lab copies every folder that an installed package has, but for the documents', () => {
  const { files } = PackageJson.parse(JSON.parse(readFileSync(join(top, 'package.json'), 'utf8')))
  const folders = new Set(
    files.filter((each) => !/^!|\.md$|^docs$/.test(each)).map((each) => each.split('/')[0]),
  )
  const [, parts = ''] = /^parts=\((.*)\)$/m.exec(readFileSync(join(top, 'scripts/lab'), 'utf8')) ?? []
  expect(folders.size).toBeGreaterThan(3)
  expect(parts.split(' ')).toEqual(expect.arrayContaining([...folders]))
})
