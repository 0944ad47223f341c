import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { check, knownKeys } from '../../nix/definition-errors.js'
import { isSecret } from '../../nix/key-options.js'
import { DebianOptions } from '../../src/core/debian-options.js'
import { optionName } from '../../src/core/option-name.js'

const Options = z.strictObject({
  memorySize: z.number().int().min(64).default(512),
  name: z.string().min(1).optional(),
  kind: z.enum(['a', 'b']).optional(),
  flag: z.boolean().optional(),
  mode: z
    .string()
    .regex(/^[0-7]+$/, 'an octal mode')
    .optional(),
  port: z.union([z.number(), z.strictObject({ host: z.number() })]).optional(),
  list: z
    .array(z.strictObject({ size: z.number() }))
    .max(2)
    .optional(),
  disks: z.record(z.string(), z.strictObject({ size: z.number() })).optional(),
  path: z.string().startsWith('/').nullish(),
  ports: z
    .array(z.number())
    .refine((ports) => new Set(ports).size === ports.length, 'the same port twice')
    .optional(),
  names: z.record(z.string().regex(/^[a-z]+$/, 'small letters'), z.number()).optional(),
})

function says(value: unknown, base = ['deployment', 'x']): string[] {
  const result = check(Options, value, base, isSecret)
  return 'issues' in result ? result.issues.map(({ path, say }) => `${optionName(path)}: ${say}`) : []
}

describe('a wrong option', () => {
  it.each([
    [{ memorySize: '4G' }, 'deployment.x.memorySize: expected a number, got "4G"'],
    [{ memorySize: 1.5 }, 'deployment.x.memorySize: expected a whole number, got 1.5'],
    [{ memorySize: 1 }, 'deployment.x.memorySize: expected a number of at least 64, got 1'],
    [{ memorySize: null }, 'deployment.x.memorySize: expected a number, got null'],
    [{ memorySize: [1] }, 'deployment.x.memorySize: expected a number, got a list'],
    [{ memorySize: { a: 1 } }, 'deployment.x.memorySize: expected a number, got a set'],
    [{ memorySize: { '<function>': true } }, 'deployment.x.memorySize: expected a number, got a function'],
    [{ name: '' }, 'deployment.x.name: expected text that is not empty, got ""'],
    [{ kind: 'c' }, 'deployment.x.kind: expected "a" or "b", got "c"'],
    [{ flag: 'yes' }, 'deployment.x.flag: expected true or false, got "yes"'],
    [{ mode: 'rw' }, 'deployment.x.mode: expected an octal mode, got "rw"'],
    [{ path: 'etc' }, 'deployment.x.path: expected text that begins with "/", got "etc"'],
    [{ port: true }, 'deployment.x.port: expected a number or a set, got true'],
    [{ list: [{ size: 1 }, {}] }, 'deployment.x.list.1.size: the value is missing; expected a number'],
    [
      { list: [{ size: 1 }, { size: 1 }, { size: 1 }] },
      'deployment.x.list: expected at most 2 elements, got a list',
    ],
    [
      { disks: { 'root disk': { size: '1' } } },
      'deployment.x.disks."root disk".size: expected a number, got "1"',
    ],
    [
      { disks: { a: { sise: 1, size: 1 } } },
      "deployment.x.disks.a.sise: unknown option; did you mean 'size'?",
    ],
    [{ memroySize: 1 }, "deployment.x.memroySize: unknown option; did you mean 'memorySize'?"],
    [{ ports: [1, 1] }, 'deployment.x.ports: the same port twice'],
    [{ names: { 'A b': 1 } }, 'deployment.x.names."A b": expected a name of small letters, got "A b"'],
    [{ somethingElse: 1 }, 'deployment.x.somethingElse: unknown option'],
  ])('%j reads %s', (value, sentence) => {
    expect(says(value)).toEqual([sentence])
  })

  it('is named with all the others', () => {
    expect(says({ memorySize: 'x', name: 5, wrong: 1 })).toHaveLength(3)
  })

  it('is shown in part when it is long', () => {
    expect(says({ memorySize: 'x'.repeat(500) })[0]?.length).toBeLessThan(140)
  })
})

it('values of keys are never shown, unlike those of options that cannot be secret', () => {
  const keys = { a: { text: 5, keyCommand: 'hush', permissions: 'rw' }, b: 'hush', c: ['hush'] }
  const result = check(DebianOptions, { keys }, ['deployment'], isSecret)
  const text = JSON.stringify(result)
  expect(text).toContain('\\"rw\\"')
  expect(text).not.toContain('hush')
})

it('the list of known options includes those of nested sets, for suggestions', () => {
  expect(knownKeys(DebianOptions, ['keys', 'a'])).toContain('keyFile')
  expect(knownKeys(DebianOptions, ['healthChecks', 'http', 0])).toContain('port')
  expect(knownKeys(DebianOptions, ['targetHost', 'deeper'])).toEqual([])
})
