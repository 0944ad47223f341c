import { describe, expect, it } from 'vitest'
import { check } from '../../nix/definition-errors.js'
import { isSecret } from '../../nix/key-options.js'
import { HydraOptions } from '../../src/core/hydra-options.js'
import { optionName } from '../../src/core/option-name.js'

function says(projects: unknown, more: Record<string, unknown> = {}): string[] {
  const result = check(HydraOptions, { enable: true, projects, ...more }, ['deployment', 'hydra'], isSecret)
  return 'issues' in result ? result.issues.map(({ path, say }) => `${optionName(path)}: ${say}`) : []
}

const nixExpression = { input: 'src', path: 'hydra/default.nix' }
const inputs = { src: { type: 'git', value: 'https://git.example.org/network.git main' } }
const jobset = (more: Record<string, unknown>) => ({
  p: { jobsets: { j: { nixExpression, inputs, ...more } } },
})
const input = (type: string, value: string) => jobset({ inputs: { ...inputs, x: { type, value } } })

describe('deployment.hydra.projects', () => {
  it.each([
    ['a jobset with an expression', jobset({})],
    ['a jobset with a flake', { p: { jobsets: { j: { flake: 'github:example/network' } } } }],
    ['dots in the name of a jobset', { p: { jobsets: { 'release-25.11': { nixExpression } } } }],
    ['a number of an evaluation', input('eval', '17')],
    ['a job as an evaluation', input('eval', 'p:j:web.x86_64-linux')],
    ['blanks in a string', input('string', ' as it is ')],
    ['no project', {}],
    ['a jobset that waits for its builds', jobset({ enabled: 'one-at-a-time' })],
  ])('accepts %s', (_, projects) => {
    expect(says(projects)).toEqual([])
  })

  it.each<[unknown, RegExp]>([
    [{ '9p': {} }, /a project name/],
    [{ 'p.q': {} }, /a project name/],
    [{ p: { jobsets: { 'a b': { nixExpression } } } }, /a jobset name/],
    [{ p: { jobsets: { '.jobsets': { nixExpression } } } }, /a jobset name/],
    [jobset({ inputs: { _x: { type: 'git', value: 'y' } } }), /an input name/],
    [input('carrier-pigeon', 'x'), /inputs\.x\.type: expected .*"sysbuild"/],
    [input('boolean', 'yes'), /inputs\.x\.value: expected "true" or "false", got "yes"/],
    [input('eval', 'a b'), /inputs\.x\.value: expected the number of an evaluation/],
    [input('path', ''), /inputs\.x\.value: expected a value/],
    [input('git', 'x '), /inputs\.x\.value: has blanks at the ends/],
    [jobset({ enabled: 'sometimes' }), /jobsets\.j\.enabled/],
    [jobset({ checkInterval: -1 }), /checkInterval: expected a number of at least 0/],
    [jobset({ schedulingShares: 0 }), /schedulingShares: expected a number of at least 1/],
    [jobset({ nixExpression: { input: 'src', path: '/etc/x.nix' } }), /a relative path/],
    [jobset({ nixExpression: { input: 'src', path: '../x/' } }), /a relative path/],
    [jobset({ nixExpression: { input: 'other', path: 'x.nix' } }), /'other' is not an input of the jobset/],
    [jobset({ flake: 'github:a/b' }), /only one of nixExpression and flake/],
    [{ p: { jobsets: { j: { flake: '/path' } } } }, /a flake URI/],
    [{ p: { jobsets: { j: { flake: 'a:b', inputs } } } }, /a jobset with a flake has no inputs/],
    [{ p: { jobsets: { j: {} } } }, /jobsets\.j: expected nixExpression or flake/],
    [
      { p: { ...jobset({}).p, declarative: { file: 'spec.json', type: 'git', value: 'u' } } },
      /p\.jobsets: Hydra refuses changes to the jobsets of a declarative project/,
    ],
    [{ 'hydra-ops-probe': {} }, /is reserved for hydra-ops/],
    [{ p: { displayName: '' } }, /displayName/],
    [{ p: { describtion: 'x' } }, /describtion/],
  ])('refuses %j', (projects, text) => {
    expect(says(projects).join('\n')).toMatch(text)
  })

  it('keeps the name of its own user free', () => {
    const users = { hydra_ops: { password: { generate: true } } }
    expect(says({}, { users })[0]).toMatch(/projects: needs the user 'hydra_ops' for hydra-ops itself/)
    expect(says(null, { users })).toEqual([])
  })
})
