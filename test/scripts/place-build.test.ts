import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { placeBuild } from '../../scripts/place-build.js'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hydra-ops-build-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

const entry = 'src/cli.js'
const place = (name: string) =>
  placeBuild(
    folder,
    new Map([
      [entry, `#!/usr/bin/env node\nimport '../chunks/${name}.js'\n`],
      [`chunks/${name}.js`, name],
      ['chunks/shared.js', 'shared'],
    ]),
  )
const chunks = () => readdirSync(join(folder, 'chunks')).sort()

it('a running build finds the files that it has still to load after the next build', () => {
  place('first')
  place('second')
  expect(chunks()).toEqual(['first.js', 'list.json', 'second.js', 'shared.js'])
  expect(readFileSync(join(folder, entry), 'utf8')).toContain('second')
})

it('the leftovers of older builds are removed', () => {
  for (const name of ['first', 'second', 'third']) place(name)
  expect(chunks()).toEqual(['list.json', 'second.js', 'shared.js', 'third.js'])
})

it('foreign files are removed, with their folders', () => {
  mkdirSync(join(folder, 'nix/deeper'), { recursive: true })
  writeFileSync(join(folder, 'nix/deeper/old.js'), '')
  writeFileSync(join(folder, 'src.js'), '')
  place('first')
  expect(readdirSync(folder).sort()).toEqual(['chunks', 'src'])
})

it('a file with an interpreter line is executable', () => {
  place('first')
  expect(statSync(join(folder, entry)).mode & 0o111).toBe(0o111)
  expect(statSync(join(folder, 'chunks/first.js')).mode & 0o111).toBe(0)
})

it('a build that cannot be written completely leaves the entry of the build before', () => {
  place('first')
  mkdirSync(join(folder, 'chunks/second.js'))
  expect(() => place('second')).toThrow()
  expect(readFileSync(join(folder, entry), 'utf8')).toContain('first')
  expect(existsSync(join(folder, 'chunks/first.js'))).toBe(true)
})
