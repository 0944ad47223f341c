import { describe, expect, it } from 'vitest'
import { targetFile } from '../../src/core/target-file.js'
import { targetScript } from '../../src/remote/target-scripts.js'
import { readScript, recordsOf } from '../fakes/script-values.js'

describe('the text for a machine’s shell', () => {
  it('has the name, the values, the shared functions and then the script', () => {
    const text = targetScript('services/port', { port: 80, unit: "it's.service", odd: true })
    expect(text).toMatch(/^# services\/port\nport=80\nunit='it'\\''s.service'\nodd=true\n\nsay\(\) \{/)
    expect(text).toContain(targetFile('lib.sh'))
    expect(text.endsWith(targetFile('services/port.sh'))).toBe(true)
  })

  it('has no lines that are comments', () => {
    expect(targetFile('services/port.sh')).not.toMatch(/^\s*#/m)
  })

  it('can be read back by the tests into the name and the values', () => {
    const values = { one: '', two: "a'b\nc$(id)", list: ['x', 'y z'] }
    expect(readScript(targetScript('services/mark', values))).toEqual({
      name: 'services/mark',
      values: { ...values, list: 'x\ny z' },
    })
  })

  it('escapes in a record the characters that separate fields and records', () => {
    const records = [
      ['a:b', 'c\\d', 'e\n'],
      ['', '-', ' '],
    ]
    const { values } = readScript(targetScript('place-files', { files: records }))
    expect(values.files?.split('\n')).toHaveLength(2)
    expect(recordsOf(values.files)).toEqual(records)
  })

  it.each(['two\nlines', ''])(
    'cannot have a list with the item %j, because the script would read another number of items',
    (item) => {
      expect(() => targetScript('services/mark', { units: ['a', item] })).toThrow(
        `${JSON.stringify(item)} cannot be one of several values of a script on a machine`,
      )
    },
  )

  it.each(['PATH', 'a-b', 'a b', '1st', ''])('cannot have a value called %j', (name) => {
    expect(() => targetScript('services/mark', { [name]: 'x' })).toThrow('is not a name for a value')
  })

  it('fails without a script with an error that names the file and the remedy', () => {
    expect(() => targetScript('services/missing')).toThrow(
      expect.objectContaining({
        code: 'INSTALLATION',
        message: 'hydra-ops is not installed properly: target/services/missing.sh: there is no such file',
        hint: expect.stringMatching(/^install hydra-ops again; its scripts belong in \/.*\/target$/),
      }),
    )
  })
})
