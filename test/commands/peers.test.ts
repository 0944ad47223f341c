import { describe, expect, it } from 'vitest'
import { peerHints } from '../../src/commands/peers.js'
import { verbs } from '../../src/commands/verbs.js'
import { runCli } from './run-cli.js'

/** Returns the commands in a text, each as the verb and its flags. */
function commandsIn(text: string): { readonly verb: string; readonly flags: readonly string[] }[] {
  return [
    ...text.matchAll(/(?:hydra-ops|(?<=^|[;,] ))(?: ?)([a-z][a-z-]+)((?: [A-Z…]+)*)((?: --?[a-z-]+)*)/g),
  ]
    .filter(([all, verb = '']) => all.startsWith('hydra-ops') || verb === 'deploy')
    .map(([, verb = '', , flags = '']) => ({ verb, flags: flags.split(' ').filter((flag) => flag !== '') }))
}

describe('the hints for users of other tools', () => {
  it('explain no verb that hydra-ops has', () => {
    const known = new Set(verbs.map(({ name }) => name))
    expect(peerHints.filter(({ kind, word }) => kind === 'verb' && known.has(word))).toEqual([])
  })

  it('name existing verbs and flags alone', async () => {
    const prose = new Set([
      'has',
      'hydra-ops',
      'cannot',
      'keeps',
      'always',
      'builds',
      'compresses',
      'deletes',
      'does',
      'evaluates',
      'asks',
      'runs',
      'writes',
    ])
    const named = peerHints.flatMap(({ hint }) => commandsIn(hint)).filter(({ verb }) => !prose.has(verb))
    expect(named.length).toBeGreaterThan(50)
    for (const { verb, flags } of named) {
      const { code, stdout } = await runCli([verb, '--help'])
      expect(code, verb).toBe(0)
      for (const flag of flags) expect(stdout, verb).toContain(flag)
    }
  })
})
