import { displayWidth, printable } from './printable.js'
import type { Paint } from './style.js'

export interface Column {
  readonly title: string
  readonly align?: 'left' | 'right' | 'center'
}

/** Text, and how it is painted once it is padded. */
export type Cell = string | { readonly text: string; readonly paint: Paint }

export type Row = readonly Cell[]

/** The table that NixOps users know: `+---+` and `|`. */
export function boxTable(columns: readonly Column[], rows: readonly Row[]): string {
  const widths = columns.map((column, at) =>
    Math.max(displayWidth(column.title), ...rows.map((row) => displayWidth(textOf(row[at])))),
  )
  const rule = `+${widths.map((width) => '-'.repeat(width + 2)).join('+')}+`
  const line = (cells: readonly string[]) => `|${cells.map((cell) => ` ${cell} `).join('|')}|`
  const width = (at: number) => widths[at] ?? 0
  const head = line(columns.map((column, at) => pad(column.title, width(at), 'center')))
  const body = rows.map((row) =>
    line(columns.map((column, at) => painted(row[at], pad(textOf(row[at]), width(at), column.align)))),
  )
  return [rule, head, rule, ...body, ...(body.length === 0 ? [] : [rule])].join('\n')
}

/** One line a row, fields divided by tabs: for scripts. */
export function plainTable(rows: readonly Row[]): string {
  return rows.map((row) => row.map(textOf).join('\t')).join('\n')
}

/** Left-aligned columns with gaps of `gap` blanks; the last column is not padded. */
export function columnsOf(rows: readonly Row[], gap: number): string[] {
  const count = Math.max(0, ...rows.map((row) => row.length))
  const widths = Array.from({ length: count }, (_, at) =>
    Math.max(0, ...rows.map((row) => displayWidth(textOf(row[at])))),
  )
  return rows.map((row) =>
    row
      .map((cell, at) =>
        painted(cell, at === row.length - 1 ? textOf(cell) : pad(textOf(cell), widths[at] ?? 0)),
      )
      .join(' '.repeat(gap))
      .trimEnd(),
  )
}

function textOf(cell: Cell | undefined): string {
  if (cell === undefined) return ''
  return printable(typeof cell === 'string' ? cell : cell.text)
}

function painted(cell: Cell | undefined, text: string): string {
  return cell === undefined || typeof cell === 'string' ? text : cell.paint(text)
}

function pad(text: string, width: number, align: Column['align'] = 'left'): string {
  const missing = Math.max(0, width - displayWidth(text))
  const before =
    align === 'left' ? 0 : align === 'right' ? missing : leftOfCentre(missing, displayWidth(text))
  return ' '.repeat(before) + text + ' '.repeat(missing - before)
}

/** An odd blank stands left of text of even width and right of text of odd width: so does Python's PrettyTable. */
function leftOfCentre(missing: number, width: number): number {
  return width % 2 === 0 ? Math.ceil(missing / 2) : Math.floor(missing / 2)
}
