import { describe, expect, it } from 'vitest'
import { joinPairs, splitArgv } from '../../src/commands/argv.js'

describe('splitArgv', () => {
  it.each([
    [['info'], 'info', []],
    [['info', '-d', 'lab'], 'info', ['-d', 'lab']],
    [['-d', 'lab', 'info', '--plain'], 'info', ['-d', 'lab', '--plain']],
    [['--deployment=lab', '--debug', 'info'], 'info', ['--deployment=lab', '--debug']],
    [['--state', 'deploy', 'info'], 'info', ['--state', 'deploy']],
    [['-dlab', 'info'], 'info', ['-dlab']],
    [['help', 'deploy'], 'deploy', ['--help']],
    [['help'], undefined, ['--help']],
    [['--help'], undefined, ['--help']],
    [[], undefined, []],
    [['ssh', 'web', '--', 'ls', '-d'], 'ssh', ['web', '--', 'ls', '-d']],
  ])('finds the verb of %j', (argv, verb, rest) => {
    expect(splitArgv(argv)).toEqual({ verb, rest })
  })

  it('finds no verb when a flag takes the last word', () => {
    expect(splitArgv(['-d', 'lab']).verb).toBeUndefined()
  })
})

describe('joinPairs', () => {
  it('joins a name and a value into one word, whatever the value looks like', () => {
    expect(joinPairs(['--arg', 'x', '--yes', '-y'])).toEqual(['--arg', 'x\0--yes', '-y'])
    expect(joinPairs(['--argstr', 'a', '', '--option', 'cores', '2'])).toEqual([
      '--argstr',
      'a\0',
      '--option',
      'cores\x002',
    ])
  })

  it('leaves the words behind -- alone', () => {
    expect(joinPairs(['--', '--arg', 'x'])).toEqual(['--', '--arg', 'x'])
  })

  it('refuses half a pair', () => {
    expect(() => joinPairs(['--arg', 'x'])).toThrow('--arg needs a name and a value')
    expect(() => joinPairs(['--argstr=domain', 'example.org'])).toThrow(
      '--argstr takes the name as a separate word',
    )
  })
})
