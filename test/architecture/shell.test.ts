import { describe, expect, it } from 'vitest'
import { sourceFiles } from './source-files.js'

const sources = sourceFiles(['src', 'providers'], ['.ts'])
const scripts = sourceFiles(['target'], ['.sh'])

/** Syntax that begins, ends or joins shell statements, and is not TypeScript. */
const shellLine =
  /^\s*(?:fi|done|esac|then)\s*(?:$|[;<>|&])|; (?:then|do|fi|done)\b|\|\| (?:exit|return|continue)(?: \d+)?\s*(?:$|[;}`'])|^\s*(?:el)?if (?:! )?\[ |\$\(\(|"\$[@1-9]"|^\s*set -[eu]|^\s*(?:while|for|case) (?!\()[^(]*(?:; do$| in$| do$)/

/** Files with lines that start a shell, or that choose the shell of a hook. */
const elsewhere = ['src/ssh/command-line.ts', 'src/ssh/sudo.ts', 'src/images/build-debian.ts']

function shellLines(text: string): string[] {
  const code = text.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/^\s*\/\/.*$/gm, '')
  return code.split('\n').filter((each) => shellLine.test(each))
}

describe('the rules for target scripts', () => {
  it('allow no script within a file of TypeScript', () => {
    const found = sources.filter(({ text }) => shellLines(text).length > 0).map(({ path }) => path)
    expect(found.filter((path) => !elsewhere.includes(path))).toEqual([])
  })

  it('require a use for each script, and a script for each used name', () => {
    const names = scripts.map(({ path }) => path.slice('target/'.length, -'.sh'.length))
    const called = sources.flatMap(({ text }) =>
      [
        ...text.matchAll(
          /(?:\bscript: |\b(?:target|placed)Script\(\s*|\btargetFile\()'([a-z0-9/-]+)(?:\.sh)?'/g,
        ),
      ].map(([, name = '']) => name),
    )
    const byNix = sourceFiles(['nix'], ['.nix']).flatMap(({ text }) =>
      [...text.matchAll(/\/target\/([a-z0-9/-]+)\.sh/g)].map(([, name = '']) => name),
    )
    const shared = (name: string) => name === 'lib' || name.endsWith('/lib')
    const own = (list: readonly string[]) => [...new Set(list.filter((name) => !shared(name)))].sort()
    expect(own([...called, ...byNix])).toEqual(own(names))
  })

  it('require that each script begins with its shell and its purpose', () => {
    const wrong = scripts.filter(({ text }) => !/^# shellcheck shell=sh\n# [A-Z]/.test(text))
    expect(wrong.map(({ path }) => path)).toEqual([])
  })

  it('allow no positional arguments', () => {
    const positional = scripts.flatMap(({ path, text }) =>
      outsideFunctions(text)
        .filter((line) => /\$(?:[1-9@*#]|\{[1-9@*#])|^\s*(?:shift\b|for \w+(?:;| do))/.test(line))
        .map((line) => `${path}: ${line}`),
    )
    expect(positional).toEqual([])
  })

  it('allow no line that looks like a comment in a text within a script, because comments are not sent', () => {
    const texts = scripts.flatMap(({ text }) =>
      [...text.matchAll(/<<-?\s*['"]?(\w+)['"]?.*\n([\s\S]*?)\n\s*\1\n/g)].map(([, , body = '']) => body),
    )
    expect(texts.length).toBeGreaterThan(0)
    expect(texts.filter((body) => /^\s*#/m.test(body))).toEqual([])
  })

  it('require a reason for each disabled check of shellcheck', () => {
    const silent = scripts.flatMap(({ path, text }) =>
      text
        .split('\n')
        .filter((line) => /shellcheck disable=/.test(line) && !/disable=[A-Z0-9,]+ # \w/.test(line))
        .map((line) => `${path}: ${line}`),
    )
    expect(silent).toEqual([])
  })
})

/** Returns the code of a script outside functions and quoted programs. */
function outsideFunctions(text: string): string[] {
  let inside = false
  return text
    .replaceAll(/^\s*#.*$/gm, '')
    .replaceAll(/'[^']*'/g, "''")
    .split('\n')
    .filter((line) => {
      const begins = /^\w+\(\) [{(]/.test(line)
      const ends = /^[})]/.test(line) || (begins && /[})]$/.test(line.trimEnd()))
      const counts = !inside && !begins
      inside = (inside || begins) && !ends
      return counts
    })
}
