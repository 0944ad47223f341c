import { displayWidth, printable } from './printable.js'
import type { Paint } from './style.js'

export interface Column {
  readonly title: string
  readonly align?: 'left' | 'right' | 'center'
}

/** A text, optionally with the paint that is applied after padding. */
export type Cell = string | { readonly text: string; readonly paint: Paint }

export type Row = readonly Cell[]

/** Formats the table that NixOps users know: `+---+` and `|`. */
export function boxTable(columns: readonly Column[], rows: readonly Row[]): string {
  const titles = columns.map(({ title }) => measured(title))
  const cells = rows.map((row) => columns.map((_, at) => measured(row[at])))
  const widths = titles.map((title, at) => widest([title, ...cells.map((row) => row[at])]))
  const rule = `+${widths.map((width) => '-'.repeat(width + 2)).join('+')}+`
  const line = (parts: readonly string[]) => `|${parts.map((part) => ` ${part} `).join('|')}|`
  const head = line(titles.map((title, at) => padded(title, widths[at], 'center')))
  const body = cells.map((row) => line(row.map((cell, at) => padded(cell, widths[at], columns[at]?.align))))
  return [rule, head, rule, ...body, ...(body.length === 0 ? [] : [rule])].join('\n')
}

/** Formats one line per row with fields separated by tabs, for scripts. */
export function plainTable(rows: readonly Row[]): string {
  return rows.map((row) => row.map(textOf).join('\t')).join('\n')
}

/** Formats left-aligned columns with gaps of `gap` spaces; the last column is not padded. */
export function columnsOf(rows: readonly Row[], gap: number): string[] {
  const cells = rows.map((row) => row.map(measured))
  const count = Math.max(0, ...cells.map((row) => row.length))
  const widths = Array.from({ length: count }, (_, at) => widest(cells.map((row) => row[at])))
  return cells.map((row) =>
    row
      .map((cell, at) => padded(cell, at === row.length - 1 ? 0 : widths[at]))
      .join(' '.repeat(gap))
      .trimEnd(),
  )
}

/** A cell's printed text and its width on a terminal, computed once because tables are long. */
interface Measured {
  readonly text: string
  readonly width: number
  readonly paint: Paint | undefined
}

function measured(cell: Cell | undefined): Measured {
  const text = textOf(cell)
  return {
    text,
    width: displayWidth(text),
    paint: cell === undefined || typeof cell === 'string' ? undefined : cell.paint,
  }
}

function widest(cells: readonly (Measured | undefined)[]): number {
  return cells.reduce((most, cell) => Math.max(most, cell?.width ?? 0), 0)
}

function textOf(cell: Cell | undefined): string {
  if (cell === undefined) return ''
  return printable(typeof cell === 'string' ? cell : cell.text)
}

function padded(cell: Measured, to = 0, align: Column['align'] = 'left'): string {
  const { text, width, paint = (plain: string) => plain } = cell
  const missing = Math.max(0, to - width)
  const before = align === 'left' ? 0 : align === 'right' ? missing : leftOfCentre(missing, width)
  return paint(' '.repeat(before) + text + ' '.repeat(missing - before))
}

/**
 * Returns the number of spaces on the left. Python's PrettyTable puts an odd space left of a text of even width, and
 * right of other texts.
 */
function leftOfCentre(missing: number, width: number): number {
  return width % 2 === 0 ? Math.ceil(missing / 2) : Math.floor(missing / 2)
}
