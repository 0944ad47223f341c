import { Readable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { MachineName } from '../../src/core/names.js'
import { wantsColour } from '../../src/ui/style.js'
import { createUi, type UiOptions } from '../../src/ui/ui.js'

const web = MachineName.parse('web')

async function makeUi(options: Partial<UiOptions> = {}) {
  const written = { stdout: '', stderr: '' }
  const stream = (name: 'stdout' | 'stderr') => ({
    isTTY: false,
    write: (text: string) => {
      written[name] += text
    },
  })
  const ui = await createUi({
    json: false,
    plain: false,
    colour: true,
    signal: new AbortController().signal,
    env: {},
    stdin: Object.assign(Readable.from(['']), { isTTY: false }),
    stdout: stream('stdout'),
    stderr: stream('stderr'),
    ...options,
  })
  return { ui, written }
}

describe('the streams of the user interface', () => {
  it('carry the product on standard output, and everything else on standard error', async () => {
    const { ui, written } = await makeUi()
    ui.print('the table')
    ui.raw('Host web\n')
    ui.printJson({ a: 1 })
    ui.line('web> out', 'stdout')
    ui.line('web> err', 'stderr')
    ui.remark('created')
    ui.events.emit({ kind: 'notice', text: 'mind this' })
    ui.events.emit({ kind: 'line', machine: web, line: 'copying' })
    await ui.settle()
    expect(written.stdout).toBe('the table\nHost web\n{\n  "a": 1\n}\nweb> out\n')
    expect(written.stderr).toBe('web> err\ncreated\nnote: mind this\nweb> copying\n')
  })

  it('carry only notices beside the product with --json', async () => {
    const { ui, written } = await makeUi({ json: true })
    ui.remark('created')
    ui.events.emit({ kind: 'line', machine: web, line: 'copying' })
    ui.events.emit({ kind: 'stage', machine: web, stage: 'copy' })
    ui.events.emit({ kind: 'notice', text: 'mind this' })
    expect(written).toEqual({ stdout: '', stderr: 'note: mind this\n' })
  })
})

describe('a question without a terminal', () => {
  it('is refused with a sentence that names --yes', async () => {
    const { ui } = await makeUi()
    await expect(ui.questions.confirm('destroy web?')).rejects.toMatchObject({
      code: 'NO_TERMINAL',
      exitCode: 2,
      message: 'there is no terminal for the question: destroy web?',
      hint: 'use --yes to confirm',
    })
  })

  it('is also refused for a password', async () => {
    const { ui } = await makeUi()
    await expect(ui.questions.secret('sudo password:')).rejects.toMatchObject({ exitCode: 2 })
  })
})

describe('colours', () => {
  it.each([
    ['on a terminal', true, {}, true, true],
    ['not in a pipe', true, {}, false, false],
    ['not with --no-color', false, {}, true, false],
    ['not with NO_COLOR', true, { NO_COLOR: '1' }, true, false],
    ['with an empty NO_COLOR', true, { NO_COLOR: '' }, true, true],
    ['not on a dumb terminal', true, { TERM: 'dumb' }, true, false],
  ])('are used as expected: %s', (_, flag, env, isTTY, expected) => {
    expect(wantsColour({ isTTY }, flag, env)).toBe(expected)
  })
})
