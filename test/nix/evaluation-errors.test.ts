import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import {
  evaluationError,
  machinesOf,
  needsWritableStore,
  parseNixError,
} from '../../nix/evaluation-errors.js'

const input = { text: '', arguments: [{ name: 'port', from: 4, to: 6 }] }
const view = { cwd: '/net', showTrace: false, input, files: ['/net/hydra.nix'] }

/** Returns a recorded transcript; see test/fixtures/nix-stderr/README.md. */
function transcript(version: string, name: string): string {
  return readFileSync(
    fileURLToPath(new URL(`../fixtures/nix-stderr/${version}/${name}.txt`, import.meta.url)),
    'utf8',
  )
}

function read(version: string, name: string) {
  return parseNixError(transcript(version, name), '/pkg/nix')
}

describe.each(['2.8', '2.26'])('an error of Nix %s', (version) => {
  it.each([
    ['syntax', "syntax.nix:2:36: syntax error, unexpected '}', expecting ';'"],
    ['variable', "variable.nix:2:35: undefined variable 'foo'"],
    ['type', "machine 'web' (type.nix:2:54): deployment.targetHost: cannot add a string to an integer"],
    ['argument', "function argument 'port': cannot add a string to an integer"],
    [
      'conflict',
      "machine 'web' (conflict.nix, conflict2.nix): deployment.targetHost: the definitions have different values of equal priority",
    ],
  ])('is one sentence with file, line and option: %s', (name, sentence) => {
    const error = evaluationError(read(version, name), transcript(version, name), view)
    expect(error.message).toBe(sentence)
    expect(error.exitCode).toBe(2)
    expect(error.detail).toBeUndefined()
  })

  it.each([
    [
      'recursion',
      /^machine 'web' \(recursion\.nix.*\): deployment\.targetHost: infinite recursion encountered$/,
    ],
    ['readfile', /^machine 'web' \(readfile\.nix.*\): deployment\.keys\.db\.text: absent does not exist$/],
    ['thrown', /^machine 'web' \(thrown\.nix.*\): deployment\.targetHost: no host for web$/],
    ['unexpected', /^machine 'web' \(unexpected\.nix.*called with unexpected argument 'name'$/],
    ['searchpath', /^machine 'web' \(searchpath\.nix:2:28\).*<nixpkgs> is not in the Nix search path$/],
    ['overflow', /infinite recursion encountered \(the stack overflowed\)$/],
  ])('names machine and file as far as Nix names them: %s', (name, sentence) => {
    expect(evaluationError(read(version, name), '', view).message).toMatch(sentence)
  })

  it('names the network when Nix names no place', () => {
    const error = { message: 'out of patience', position: undefined, places: [], fail: undefined }
    expect(evaluationError(error, '', view).message).toBe('hydra.nix: out of patience')
  })

  it.each(['secret', 'coerce'])('never shows a value, which could be secret: %s', (name) => {
    const { message, hint } = evaluationError(read(version, name), transcript(version, name), view)
    expect(message).toContain('deployment.keys.db.text')
    expect(`${message} ${hint}`).not.toContain('hush')
  })

  it('names the remedy for a nixpkgs that is too new for this Nix', () => {
    const error = evaluationError(read(version, 'minver'), '', view)
    expect(error.message).toMatch(/this nixpkgs requires Nix >= 2\.18$/)
    expect(error.hint).toContain('nixos.org/download')
  })

  it.each(['ifd', 'fetch'])('recognises an expression that needs a store to write to: %s', (name) => {
    expect(needsWritableStore(read(version, name))).toBe(true)
    expect(needsWritableStore(read(version, 'type'))).toBe(false)
  })

  it('knows the machine that was being evaluated', () => {
    expect(machinesOf(read(version, 'type'))).toEqual(['web'])
    expect(machinesOf(read(version, 'syntax'))).toEqual([])
  })

  it('shows the trace only on request, and never the text of an argument in it', () => {
    const stderr = transcript(version, 'argument')
    expect(stderr).toContain('hush')
    const traced = evaluationError(parseNixError(stderr, '/pkg/nix'), stderr, { ...view, showTrace: true })
    expect(traced.detail).toContain('hydra-ops:at:')
    expect(traced.detail).not.toContain('hush')
  })
})

it('the parser distinguishes faults of the host from faults of the expression', () => {
  const stderr = "error: creating directory '/nix/var': Permission denied\n"
  const error = evaluationError(parseNixError(stderr, '/pkg/nix'), stderr, view)
  expect(error.exitCode).toBe(1)
  expect(error.message).toContain('Permission denied')
})
