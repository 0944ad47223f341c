import { stripVTControlCharacters } from 'node:util'

/** Ordinary text: each character takes one column, and nothing needs escaping. */
const plain = /^[\x20-\x7e]*$/

/**
 * Returns one line that cannot move the cursor, ring the bell, change colours or reorder text. Escape sequences are
 * dropped. Other control characters (and the marks that change the writing direction) appear as `\xNN`.
 */
export function printable(text: string): string {
  if (plain.test(text)) return text
  return stripVTControlCharacters(text)
    .replaceAll('\t', ' ')
    .replace(/[\p{Cc}\p{Bidi_Control}\p{Zl}\p{Zp}]/gu, shown)
}

/** Returns several printable lines; a line that `\r` overwrote keeps its final text. */
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

/** Returns the number of columns that printable text takes on a terminal. */
export function displayWidth(text: string): number {
  if (plain.test(text)) return text.length
  let width = 0
  for (const character of text)
    width += /\p{Mn}|\p{Me}|\p{Cf}/u.test(character) ? 0 : isWide(character) ? 2 : 1
  return width
}

/** Tells whether a character is East Asian wide or an emoji, by the main blocks (Unicode's EastAsianWidth.txt). */
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
