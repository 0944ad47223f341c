import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { z } from 'zod'
import { LibvirtConfig } from '../../providers/libvirt/config.js'
import { VirtualBoxConfig } from '../../providers/virtualbox/config.js'
import { verbs } from '../../src/commands/verbs.js'

import { DebianOptions } from '../../src/core/debian-options.js'
import { exitCodes } from '../../src/core/errors.js'
import { top } from './source-files.js'

const read = (file: string) => readFileSync(join(top, file), 'utf8')
const Schema = z.object({
  properties: z.record(z.string(), z.unknown()).optional(),
  additionalProperties: z.unknown().optional(),
  items: z.unknown().optional(),
  anyOf: z.array(z.unknown()).optional(),
})

/** Lists the names of all options of a schema, at every depth. */
function optionNames(schema: unknown): string[] {
  const parsed = Schema.safeParse(schema)
  if (!parsed.success) return []
  const { properties = {}, additionalProperties, items, anyOf = [] } = parsed.data
  return [
    ...Object.keys(properties),
    ...[...Object.values(properties), additionalProperties, items, ...anyOf].flatMap(optionNames),
  ]
}

const inputOf = (schema: z.ZodType) => z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' })

/** Returns the words in a document's code spans, and the parts of dotted words. */
function codeWords(text: string): Set<string> {
  const spans = [...text.matchAll(/`([^`\n]+)`/g)].map(([, span = '']) => span)
  return new Set(spans.flatMap((span) => span.split(/[^\w-]+/)))
}

it('every option is described', () => {
  const pages = ['docs/options.md', 'docs/providers/libvirt.md', 'docs/providers/virtualbox.md']
  const described = codeWords(pages.map(read).join('\n'))
  const names = [
    ...new Set([DebianOptions, LibvirtConfig, VirtualBoxConfig].map(inputOf).flatMap(optionNames)),
  ]
  expect(names.length).toBeGreaterThan(60)
  expect(names.filter((name) => !described.has(name))).toEqual([])
})

it('the README has every verb and no other', () => {
  const table = read('README.md').split('## Verbs')[1]?.split('\n\n')[1] ?? ''
  const listed = table
    .split('\n')
    .slice(2)
    .flatMap((row) => [...(row.split('|')[1] ?? '').matchAll(/`([\w-]+)`/g)].map(([, verb = '']) => verb))
  expect(listed.sort()).toEqual(verbs.map((verb) => verb.name).sort())
})

it('the README has every exit code', () => {
  const rows = new Set([...read('README.md').matchAll(/^\| (\d+) \|/gm)].map(([, code]) => Number(code)))
  expect(Object.values(exitCodes).filter((code) => !rows.has(code))).toEqual([])
})

it('the README justifies every dependency', () => {
  const { dependencies } = z
    .object({ dependencies: z.record(z.string(), z.string()) })
    .parse(JSON.parse(read('package.json')))
  const rows = new Set([...read('README.md').matchAll(/^\| (@?[\w/-]+) \|/gm)].map(([, name]) => name))
  expect(Object.keys(dependencies).filter((name) => !rows.has(name))).toEqual([])
})
