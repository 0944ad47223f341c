import { spawnSync } from 'node:child_process'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type ScriptValues, targetFile } from '../../src/core/target-file.js'
import { targetScript } from '../../src/remote/target-scripts.js'

/** Runs a script of this test, preceded by values and shared functions as in a script of target/. */
function sh(script: string, values: ScriptValues, before = '') {
  const whole = targetScript('services/mark', values).replace(targetFile('services/mark.sh'), () => script)
  return spawnSync('sh', ['-c', before + whole], { encoding: 'utf8' })
}

const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 30 }).filter((each) => !each.includes('\0')),
  fc.constantFrom('a\n', '\n\n', 'a:b', ':', '\\', '\\0072', '$(id)', "a'b", '*', ' ', '-n', '%s'),
)
const wellFormed = text.filter((each) => Buffer.from(each).toString() === each)

describe('the values of a script', () => {
  it('reach the script exactly as they were', () => {
    fc.assert(
      fc.property(wellFormed, (value) => {
        expect(sh('printf %s "$value"', { value }).stdout).toBe(value)
      }),
      { numRuns: 60 },
    )
  })

  it('become one word per item of a list, whatever the items hold', () => {
    const item = wellFormed.filter((each) => each !== '' && !each.includes('\n'))
    fc.assert(
      fc.property(fc.array(item, { maxLength: 4 }), (list) => {
        const { stdout } = sh('split_by_line\nfor each in $list; do printf "<%s>" "$each"; done', { list })
        expect(stdout).toBe(list.map((each) => `<${each}>`).join(''))
      }),
      { numRuns: 60 },
    )
  })

  it('reach the script exactly in each field of a record', () => {
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

  it('end the script before it does anything when one is missing', () => {
    const ended = spawnSync('sh', ['-c', targetScript('services/mark', { marks: '/nowhere/marks' })])
    expect(ended.status).not.toBe(0)
    expect(String(ended.stderr)).toMatch(/units: /)
  })
})

describe('a step', () => {
  const script = 'echo a; step first; echo b; step second; echo c\n'

  it('is silent and has no effect on a real run', () => {
    expect(sh(script, {})).toMatchObject({ status: 0, stdout: 'a\nb\nc\n', stderr: '' })
  })

  it('kills the script on a test’s request, and each reached step is reported', () => {
    expect(sh(script, {}, 'steps_left=0\n')).toMatchObject({
      signal: 'SIGKILL',
      stdout: 'a\n',
      stderr: 'step first\n',
    })
    expect(sh(script, {}, 'steps_left=1\n')).toMatchObject({ signal: 'SIGKILL', stdout: 'a\nb\n' })
    expect(sh(script, {}, 'steps_left=2\n')).toMatchObject({ status: 0, stderr: 'step first\nstep second\n' })
  })
})

describe('a replaced file', () => {
  it('has the new text, or the old text when the new one cannot be written', () => {
    const script = `cd "$(mktemp -d)" && echo old > f && echo new | replace_file f && cat f
      mkdir f.new && echo newer | replace_file f || cat f
      rm -r "$PWD"\n`
    expect(sh(script, {})).toMatchObject({ status: 0, stdout: 'new\nnew\n' })
  })
})
