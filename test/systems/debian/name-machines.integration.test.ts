import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { MachineName } from '../../../src/core/names.js'
import { nameMachines } from '../../../src/systems/debian/name-machines.js'
import { recordingRun } from '../../fakes/fake-target.js'
import { LocalShellHost } from '../../fakes/local-shell-host.js'

let folder: string
let file: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hydra-ops-names-'))
  file = join(folder, 'hosts')
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const ci = { address: '10.77.1.1', name: MachineName.parse('ci') }
const web = { address: '10.77.1.2', name: MachineName.parse('web') }
const block = '# hydra-ops: begin\n10.77.1.1 ci\n10.77.1.2 web\n# hydra-ops: end\n'

const name = (hosts = [ci, web]) =>
  nameMachines(new LocalShellHost({ moved: { '/etc/hosts': file } }), hosts, recordingRun())

describe('the names of the other machines on a new machine', () => {
  it.each([
    ['a usual file', '127.0.0.1 localhost\n', '127.0.0.1 localhost\n'],
    ['a file whose last line has no end', '127.0.0.1 localhost', '127.0.0.1 localhost\n'],
    ['names of an earlier try', `a\n${block.replace('10.77.1.1', '10.77.1.9')}b\n`, 'a\nb\n'],
    ['an empty file', '', ''],
  ])('follow %s', async (_, before, kept) => {
    writeFileSync(file, before)
    await name()
    expect(readFileSync(file, 'utf8')).toBe(`${kept}${block}`)
    await name()
    expect(readFileSync(file, 'utf8')).toBe(`${kept}${block}`)
    expect(readdirSync(folder)).toEqual(['hosts'])
  })

  it('make a file that is missing', async () => {
    await name()
    expect(readFileSync(file, 'utf8')).toBe(block)
    expect(statSync(file).mode & 0o777).toBe(0o644)
  })

  it('keep the mode of the file, and a link to it', async () => {
    const real = join(folder, 'real')
    writeFileSync(real, 'mine\n', { mode: 0o640 })
    symlinkSync(real, file)
    await name([web])
    expect(readFileSync(real, 'utf8')).toBe('mine\n# hydra-ops: begin\n10.77.1.2 web\n# hydra-ops: end\n')
    expect(statSync(real).mode & 0o777).toBe(0o640)
  })
})
