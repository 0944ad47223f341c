import { spawnSync } from 'node:child_process'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type ScriptValues, targetFile } from '../../src/core/target-file.js'
import { targetScript } from '../../src/remote/target-scripts.js'

/** Runs a script of this test, with values and shared functions before it as a script of target/ has them. */
function sh(script: string, values: ScriptValues, before = '') {
  const whole = targetScript('services/mark', values).replace(targetFile('services/mark.sh'), () => script)
  return spawnSync('sh', ['-c', before + whole], { encoding: 'utf8' })
}

const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 30 }).filter((each) => !each.includes('\0')),
  fc.constantFrom('a\n', '\n\n', 'a:b', ':', '\\', '\\0072', '$(id)', "a'b", '*', ' ', '-n', '%s'),
)
const wellFormed = text.filter((each) => Buffer.from(each).toString() === each)

describe('values', () => {
  it('a value reaches the script exactly as it was', () => {
    fc.assert(
      fc.property(wellFormed, (value) => {
        expect(sh('printf %s "$value"', { value }).stdout).toBe(value)
      }),
      { numRuns: 60 },
    )
  })

  it('each item of a list becomes one word, whatever the items hold', () => {
    const item = wellFormed.filter((each) => each !== '' && !each.includes('\n'))
    fc.assert(
      fc.property(fc.array(item, { maxLength: 4 }), (list) => {
        const { stdout } = sh('split_by_line\nfor each in $list; do printf "<%s>" "$each"; done', { list })
        expect(stdout).toBe(list.map((each) => `<${each}>`).join(''))
      }),
      { numRuns: 60 },
    )
  })

  it('each field of a record reaches the script exactly as it was', () => {
    const script = `while IFS=: read -r one two three; do
      decode one two three
      printf '<%s|%s|%s>' "$one" "$two" "$three"
    done <<END\n$list\nEND\n`
    const records = fc.array(fc.tuple(wellFormed, wellFormed, wellFormed), { minLength: 1, maxLength: 3 })
    fc.assert(
      fc.property(records, (list) => {
        expect(sh(script, { list }).stdout).toBe(list.map((fields) => `<${fields.join('|')}>`).join(''))
      }),
      { numRuns: 60 },
    )
  })

  it('a missing value ends the script before it does anything', () => {
    const ended = spawnSync('sh', ['-c', targetScript('services/mark', { marks: '/nowhere/marks' })])
    expect(ended.status).not.toBe(0)
    expect(String(ended.stderr)).toMatch(/units: /)
  })
})

describe('a step', () => {
  const script = 'echo a; step first; echo b; step second; echo c\n'

  it('a step does and says nothing on a real run', () => {
    expect(sh(script, {})).toMatchObject({ status: 0, stdout: 'a\nb\nc\n', stderr: '' })
  })

  it('a step kills the script where a test wants it, and each step that was reached is told', () => {
    expect(sh(script, {}, 'steps_left=0\n')).toMatchObject({
      signal: 'SIGKILL',
      stdout: 'a\n',
      stderr: 'step first\n',
    })
    expect(sh(script, {}, 'steps_left=1\n')).toMatchObject({ signal: 'SIGKILL', stdout: 'a\nb\n' })
    expect(sh(script, {}, 'steps_left=2\n')).toMatchObject({ status: 0, stderr: 'step first\nstep second\n' })
  })
})

describe('a file that is replaced', () => {
  it('a replaced file has the new text, or the old one where the new one cannot be written', () => {
    const script = `cd "$(mktemp -d)" && echo old > f && echo new | replace_file f && cat f
      mkdir f.new && echo newer | replace_file f || cat f
      rm -r "$PWD"\n`
    expect(sh(script, {})).toMatchObject({ status: 0, stdout: 'new\nnew\n' })
  })
})
