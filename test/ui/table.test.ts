import { describe, expect, it } from 'vitest'
import { boxTable, columnsOf, plainTable } from '../../src/ui/table.js'

const columns = [
  { title: 'Name' },
  { title: 'Status', align: 'center' as const },
  { title: 'n', align: 'right' as const },
]

describe('boxTable', () => {
  it('draws the table of NixOps', () => {
    expect(
      boxTable(columns, [
        ['web', 'Up', '7'],
        ['database', 'Unreachable', '10'],
      ]),
    ).toBe(
      `
+----------+-------------+----+
|   Name   |    Status   | n  |
+----------+-------------+----+
| web      |      Up     |  7 |
| database | Unreachable | 10 |
+----------+-------------+----+`.trim(),
    )
  })

  it('draws only its head without rows', () => {
    expect(boxTable([{ title: 'Name' }], [])).toBe('+------+\n| Name |\n+------+')
  })

  it('stays straight with wide letters and hostile names', () => {
    const lines = boxTable([{ title: 'Name' }], [['世界'], ['\u001b[31mx\u001b[0m'], ['a\nb']]).split('\n')
    expect(lines).toEqual([
      '+------+',
      '| Name |',
      '+------+',
      '| 世界 |',
      '| x    |',
      '| a\\nb |',
      '+------+',
    ])
  })

  it('paints a cell outside its padding’s measure', () => {
    const paint = (text: string) => `<${text}>`
    expect(boxTable([{ title: 'Name' }], [[{ text: 'x', paint }]]).split('\n')[3]).toBe('| <x   > |')
  })
})

describe('plainTable', () => {
  it('has one line per row and tabs only between fields', () => {
    expect(
      plainTable([
        ['a\tb', 'c'],
        ['d', ''],
      ]),
    ).toBe('a b\tc\nd\t')
  })
})

describe('columnsOf', () => {
  it('aligns to the left and ends lines without blanks', () => {
    expect(
      columnsOf(
        [
          ['a', 'bb', 'c'],
          ['aaa', 'b', ''],
        ],
        3,
      ),
    ).toEqual(['a     bb   c', 'aaa   b'])
  })
})
