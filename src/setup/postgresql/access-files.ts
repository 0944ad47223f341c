/** Changes to pg_hba.conf and pg_ident.conf that Hydra needs; everything else in the files stays. */

/** Comment at the end of our rule, which identifies the rule even after the options change. */
const ruleMark = "# hydra-ops: Hydra's users"
const mapBegin = '# begin hydra-ops'
const mapEnd = '# end hydra-ops'

/**
 * Puts the rule first, because the first match counts, and Debian's own `local all all peer` matches every user.
 * Removes copies of the rule further down, and rules from earlier options.
 */
export function withRule(text: string, rule: string): string {
  const others = text.split('\n').filter((line) => !isOurRule(line) && words(line) !== words(rule))
  return [`${rule} ${ruleMark}`, ...others].join('\n')
}

function isOurRule(line: string): boolean {
  return line.trimEnd().endsWith(ruleMark)
}

/** Puts the rows of the map into our block at the end, because the order of rows does not matter. */
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
  // The rows of a block without its end mark stay, because they do no harm.
  if (begin < 0 || end < begin) return lines.filter((line) => line !== mapBegin && line !== mapEnd)
  return [...lines.slice(0, begin), ...lines.slice(end + 1)]
}

/** Says whether we wrote a line of pg_hba.conf or pg_ident.conf; lines count from 1, as in PostgreSQL. */
export function isOurs(text: string, line: number): boolean {
  const lines = text.split('\n')
  const begin = lines.indexOf(mapBegin)
  const inBlock = begin >= 0 && line - 1 > begin && line - 1 < lines.indexOf(mapEnd)
  return inBlock || isOurRule(lines[line - 1] ?? '')
}

/** Normalizes a line as PostgreSQL reads it, without comments and extra spaces. */
function words(line: string): string {
  return line.replace(/#.*$/, '').trim().split(/\s+/).join(' ')
}

/** Says whether the rule is the first rule of the file. */
export function hasRuleFirst(text: string, rule: string): boolean {
  const first = text.split('\n').find((line) => words(line) !== '')
  return first !== undefined && words(first) === words(rule)
}

export function hasMap(text: string, rows: readonly string[]): boolean {
  const there = new Set(text.split('\n').map(words))
  return rows.every((row) => there.has(words(row)))
}
