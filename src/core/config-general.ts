/**
 * Names the options that a text sets outside of blocks, as Perl's Config::General 2.65 reads hydra.conf. Included
 * files are not read. Config::General turns an option that is set twice into a list, which Hydra shows as
 * `ARRAY(0x…)`.
 */
export function optionsSetBy(text: string): ReadonlySet<string> {
  const options = new Set<string>()
  let depth = 0
  for (const entry of entriesOf(text)) {
    if (/^<\/.+>$/.test(entry)) depth = Math.max(0, depth - 1)
    else if (/^<[^/].*>$/.test(entry)) depth += 1
    else if (depth === 0) options.add(entry.split(/\s*=\s*|\s+/, 1)[0] ?? '')
  }
  return options
}

/**
 * Returns the entries: lines with their continuations, and the names of here-documents. Comments, includes and empty
 * blocks are left out.
 */
function entriesOf(text: string): string[] {
  const entries: string[] = []
  const withoutComment = commentRemover()
  let continued = ''
  let hereDoc: { readonly option: string; readonly end: string } | undefined
  for (const raw of text.split('\n')) {
    if (hereDoc !== undefined) {
      if (raw.trim() !== hereDoc.end) continue
      entries.push(hereDoc.option)
      hereDoc = undefined
      continue
    }
    const line = withoutComment(raw)
    if (line === undefined) continue
    if (/(?<!\\)\\$/.test(line)) {
      continued += line.slice(0, -1).trimStart()
      continue
    }
    if (emptyBlock.test(line)) continue
    hereDoc = hereDocOf(line)
    if (hereDoc !== undefined) continue
    const whole = `${continued}${line.trimStart()}`.trim()
    if (whole !== '' && (continued !== '' || !include.test(line))) entries.push(whole)
    continued = ''
  }
  return entries
}

const emptyBlock = /<[^/].*\/>\s*$/
const include = /^\s*include(?:optional)?(?:\s*(["']).*(?<!\\)\1$|\s+\S)/i

function hereDocOf(line: string): { readonly option: string; readonly end: string } | undefined {
  const found = /^\s*([^=]+?)\s*=\s*<<\s*(.+?)\s*$/.exec(line) ?? /^\s*(\S+?)\s+<<\s*(.+?)\s*$/.exec(line)
  const [, option, end] = found ?? []
  return option === undefined || end === undefined ? undefined : { option, end }
}

/**
 * Returns a function that takes the lines in order. The function returns undefined for a line inside a C-style
 * comment, which may span several lines.
 */
function commentRemover(): (line: string) => string | undefined {
  let inside = false
  return (line) => {
    let rest = line
    if (/\/\*.*\*\//.test(line)) rest = line.replace(/\s*\/\*.*\*\/\s*/, '')
    else if (/^\s*\/\*/.test(line)) inside = true
    else if (line.includes('*/')) {
      inside = false
      rest = line.replace(/^.*\*\//, '')
    }
    return inside ? undefined : rest.replace(/(?<!\\)#.*$/, '')
  }
}
