import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { MachineName } from '../../src/core/names.js'
import { nameMachines } from '../../src/remote/name-machines.js'
import { recordingRun } from '../fakes/fake-target.js'
import { LocalShellHost } from '../fakes/local-shell-host.js'

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

/** Makes /etc/hosts a link into the Nix store, as NixOS has it; `through` is the folder in between. */
function linkedByNixos(through: string): void {
  for (const place of ['store', through]) mkdirSync(join(folder, place), { recursive: true })
  writeFileSync(join(folder, 'store', 'hosts'), '127.0.0.1 localhost\n', { mode: 0o444 })
  symlinkSync(join(folder, 'store', 'hosts'), join(folder, through, 'hosts'))
  symlinkSync(join(folder, through, 'hosts'), file)
}

const nameOnNixos = () => {
  const moved = {
    '/etc/hosts': file,
    '/etc/static': join(folder, 'static'),
    '/nix/store': join(folder, 'store'),
  }
  return nameMachines(new LocalShellHost({ moved }), [ci, web], recordingRun())
}

describe('the names of the other machines on a new machine of NixOS', () => {
  it('replace the link into the Nix store, until an activation puts the link back', async () => {
    linkedByNixos('static')
    await nameOnNixos()
    await nameOnNixos()
    expect(lstatSync(file).isSymbolicLink()).toBe(false)
    expect(readFileSync(file, 'utf8')).toBe(`127.0.0.1 localhost\n${block}`)
    expect(statSync(file).mode & 0o777).toBe(0o644)
    expect(readFileSync(join(folder, 'store', 'hosts'), 'utf8')).toBe('127.0.0.1 localhost\n')
  })

  it('are left out where /etc is an overlay, which would keep the file for ever', async () => {
    linkedByNixos('elsewhere')
    await nameOnNixos()
    expect(lstatSync(file).isSymbolicLink()).toBe(true)
    expect(readFileSync(file, 'utf8')).toBe('127.0.0.1 localhost\n')
  })
})

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
