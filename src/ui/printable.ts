import { stripVTControlCharacters } from 'node:util'

/** Nearly all that is ever shown: one column a character, and nothing to hide. */
const plain = /^[\x20-\x7e]*$/

/**
 * One line that cannot move the cursor, ring, recolour or reorder: escape sequences are dropped, other control
 * characters (and those that turn the direction of writing) are shown as `\xNN`.
 */
export function printable(text: string): string {
  if (plain.test(text)) return text
  return stripVTControlCharacters(text)
    .replaceAll('\t', ' ')
    .replace(/[\p{Cc}\p{Bidi_Control}\p{Zl}\p{Zp}]/gu, shown)
}

/** The same for text of several lines; of a line that was overwritten by `\r`, what stood there at the end. */
export function printableLines(text: string): string[] {
  return text
    .replace(/\r?\n$/, '')
    .split(/\r?\n/)
    .map((line) => printable(line.split('\r').findLast((part) => part !== '') ?? ''))
}

function shown(character: string): string {
  const code = character.codePointAt(0) ?? 0
  if (character === '\n') return '\\n'
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16)}`
}

/** Columns that text takes on a terminal. `text` is printable. */
export function displayWidth(text: string): number {
  if (plain.test(text)) return text.length
  let width = 0
  for (const character of text)
    width += /\p{Mn}|\p{Me}|\p{Cf}/u.test(character) ? 0 : isWide(character) ? 2 : 1
  return width
}

/** East Asian wide and emoji, by the blocks that matter (Unicode's EastAsianWidth.txt). */
function isWide(character: string): boolean {
  const code = character.codePointAt(0) ?? 0
  return (
    (code >= 0x1100 && code <= 0x115f) ||
    (code >= 0x2e80 && code <= 0xa4cf) ||
    (code >= 0xac00 && code <= 0xd7a3) ||
    (code >= 0xf900 && code <= 0xfaff) ||
    (code >= 0xfe30 && code <= 0xfe6f) ||
    (code >= 0xff00 && code <= 0xff60) ||
    (code >= 0x1f300 && code <= 0x1faff) ||
    (code >= 0x20000 && code <= 0x3fffd)
  )
}
