/** Text of pg_hba.conf and pg_ident.conf with what Hydra needs; everything else in them stays as it is. */

/** At the end of our rule, so that it is known for ours also when the options say another one. */
const ruleMark = "# hydra-ops: Hydra's users"
const mapBegin = '# begin hydra-ops'
const mapEnd = '# end hydra-ops'

/**
 * The rule as the file's first one: the first that matches counts, and Debian's own `local all all peer` matches
 * everybody. The same rule further down is taken away, and so is one that earlier options said.
 */
export function withRule(text: string, rule: string): string {
  const others = text.split('\n').filter((line) => !isOurRule(line) && words(line) !== words(rule))
  return [`${rule} ${ruleMark}`, ...others].join('\n')
}

function isOurRule(line: string): boolean {
  return line.trimEnd().endsWith(ruleMark)
}

/** The rows of the map in a block of ours, at the end: the order of rows does not matter. */
export function withMap(text: string, rows: readonly string[]): string {
  const kept = withoutBlock(text.split('\n'))
  const there = new Set(kept.map(words))
  const missing = rows.filter((row) => !there.has(words(row)))
  while (kept.at(-1) === '') kept.pop()
  if (missing.length === 0) return kept.length === 0 ? '' : `${kept.join('\n')}\n`
  return `${[...kept, mapBegin, ...missing, mapEnd].join('\n')}\n`
}

function withoutBlock(lines: readonly string[]): string[] {
  const begin = lines.indexOf(mapBegin)
  const end = lines.indexOf(mapEnd)
  // A block that somebody cut in two is left alone: its rows do no harm.
  if (begin < 0 || end < begin) return lines.filter((line) => line !== mapBegin && line !== mapEnd)
  return [...lines.slice(0, begin), ...lines.slice(end + 1)]
}

/** Did we write this line of pg_hba.conf or pg_ident.conf? Counted from 1, as PostgreSQL does. */
export function isOurs(text: string, line: number): boolean {
  const lines = text.split('\n')
  const begin = lines.indexOf(mapBegin)
  const inBlock = begin >= 0 && line - 1 > begin && line - 1 < lines.indexOf(mapEnd)
  return inBlock || isOurRule(lines[line - 1] ?? '')
}

/** A line as PostgreSQL reads it: comments and the amount of blanks do not matter. */
function words(line: string): string {
  return line.replace(/#.*$/, '').trim().split(/\s+/).join(' ')
}

/** Is the rule the first of the file? */
export function hasRuleFirst(text: string, rule: string): boolean {
  const first = text.split('\n').find((line) => words(line) !== '')
  return first !== undefined && words(first) === words(rule)
}

export function hasMap(text: string, rows: readonly string[]): boolean {
  const there = new Set(text.split('\n').map(words))
  return rows.every((row) => there.has(words(row)))
}
