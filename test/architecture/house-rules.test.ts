import { basename, join } from 'node:path'
import { expect, it } from 'vitest'
import { otherFolders, type SourceFile, shippedFolders, sourceFiles } from './source-files.js'

const shipped = sourceFiles(shippedFolders, ['.ts'])
const all = [...shipped, ...sourceFiles(otherFolders, ['.ts', '.mjs'])]
const here = join('test', 'architecture')

/** Returns the lines that match a pattern, as `path: line`. */
function lines(files: readonly SourceFile[], pattern: RegExp): string[] {
  return files.flatMap(({ path, text }) =>
    text
      .split('\n')
      .filter((line) => pattern.test(line))
      .map((line) => `${path}: ${line.trim()}`),
  )
}

it('no file has more than 400 lines', () => {
  const files = [...all, ...sourceFiles([...shippedFolders, 'examples'], ['.nix', '.sh'])]
  const long = files.filter(({ text }) => text.trimEnd().split('\n').length > 400)
  expect(long.map(({ path }) => path)).toEqual([])
})

it('the entry point stays small', () => {
  const cli = shipped.find(({ path }) => path === 'src/cli.ts')
  expect(cli?.text.trimEnd().split('\n').length).toBeLessThanOrEqual(80)
})

it('no file only re-exports, except a provider’s index', () => {
  const only = shipped.filter(({ path, text }) => {
    const statements = text.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '').trim()
    const rest = statements.replace(/^(?:export|import)\s[^;'"]*?from\s*'[^']+'\s*$/gm, '').trim()
    return rest === '' && !/^providers\/[^/]+\/index\.ts$/.test(path)
  })
  expect(only.map(({ path }) => path)).toEqual([])
})

it('the type checker is switched off nowhere', () => {
  const escapes = /:\s*any\b|\bas any\b|<any>|@ts-(?:ignore|nocheck|expect-error)|biome-ignore/
  expect(
    lines(
      all.filter(({ path }) => !path.startsWith(here)),
      escapes,
    ),
  ).toEqual([])
})

it('no test is skipped, focused, left for later, or unable to fail', () => {
  const tests = all.filter(({ path }) => path.endsWith('.test.ts') && !path.startsWith(here))
  expect(
    lines(tests, /\b(?:it|test|describe)\.(?:skip|only|todo|skipIf|runIf|fails)\b|expect\(true\)/),
  ).toEqual([])
})

it('zod is imported so that a build can omit its unused parts', () => {
  expect(lines(shipped, /^import \{[^}]*\} from 'zod'/)).toEqual([])
})

it('only the user interface writes to the terminal', () => {
  const others = shipped.filter(({ path }) => !path.startsWith('src/ui/') && path !== 'src/cli.ts')
  expect(lines(others, /\bconsole\.\w+\(|process\.(?:stdout|stderr)\.write\b/)).toEqual([])
})

it('no deadline is left to a timeout that the garbage collector takes away', () => {
  const others = shipped.filter(({ path }) => path !== 'src/core/deadline.ts')
  expect(lines(others, /AbortSignal\.any\([^)]*AbortSignal\.timeout/)).toEqual([])
})

it('the name of a file describes its content', () => {
  const vague = all.filter(({ path }) => /^(?:utils?|helpers?|common|misc)\.ts$/.test(basename(path)))
  const notKebab = all.filter(({ path }) => !/^[a-z0-9]+(?:[-.][a-z0-9]+)*\.(?:ts|mjs)$/.test(basename(path)))
  expect([...vague, ...notKebab].map(({ path }) => path)).toEqual([])
})

it('exports have names', () => {
  expect(lines(shipped, /^export default\b/)).toEqual([])
})

it('every wait listens to its signal by onAbort and rests by pause, and both remove their listeners and timers', () => {
  const waits = shipped.filter(({ path }) => path !== 'src/core/on-abort.ts')
  expect(lines(waits, /addEventListener\(\s*'abort'|timers\/promises|\.onabort\b/)).toEqual([])
})
