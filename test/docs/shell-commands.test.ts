import { describe, expect, it } from 'vitest'
import { commandsIn } from './shell-commands.js'

describe('the parser of shell commands', () => {
  it.each<[string, string, string[][]]>([
    ['one', 'hydra-ops deploy -d lab', [['hydra-ops', 'deploy', '-d', 'lab']]],
    ['a comment after it', 'hydra-ops list   # all of them', [['hydra-ops', 'list']]],
    ['one over several lines', 'a \\\n  --b \'c d\' "e"', [['a', '--b', 'c d', 'e']]],
    ['a list', 'a && b || c; d & e | f', [['a'], ['b'], ['c'], ['d'], ['e'], ['f']]],
    ['a subshell', '(cd x && a)', [['cd', 'x'], ['a']]],
    ['a substitution', 'a "$(b -c)/d" $(e)', [['b', '-c'], ['e'], ['a', '…/d', '…']]],
    ['one in another', 'x=$(a "$(b)")', [['b'], ['a', '…']]],
    ['redirections', 'a b > c 2>&1 < d 2> e f', [['a', 'b', 'f']]],
    ['a here-document', "a > f <<'END'\nhydra-ops nothing 'of this\nEND\nb", [['a'], ['b']]],
    [
      'a loop',
      'until a -b; do sleep 1; done',
      [
        ['a', '-b'],
        ['sleep', '1'],
      ],
    ],
    ['assignments before one', 'X=1 Y="2 3" a', [['a']]],
    [
      'a quoted sign that means something else unquoted',
      'a \'#b;c\' "d|e" f\\ g',
      [['a', '#b;c', 'd|e', 'f g']],
    ],
    ['none', '# nothing\n\n', []],
  ])('reads %s', (_, script, commands) => {
    expect(commandsIn(script)).toEqual(commands)
  })

  it.each([
    ['a quote without an end', "a 'b"],
    ['a double quote without an end', 'a "b'],
    ['a here-document without an end', 'a <<END\nb\n'],
  ])('rejects %s', (_, script) => {
    expect(() => commandsIn(script)).toThrow()
  })
})
