/** Returns the texts that a program may print, as one text: its source without comments and escapes. */
export function whatItSays(source: string): string {
  return source
    .replaceAll(/^\s*(?:\/\/|\*\s|\/\*|#).*$/gm, '')
    .replaceAll(/\\(['"`])/g, '$1')
    .replaceAll(/\s+/g, ' ')
}

/** The shortest length at which a piece of text is unlikely to occur by chance. */
const shortest = 11

/**
 * Tells whether a program with this source may print the message. `…` in the message stands for inserted text, or for
 * the place where two pieces of the source join.
 */
export function mayPrint(said: string, message: string): boolean {
  return message
    .split('…')
    .map((part) => part.replace(/^\W+/, '').replace(/[\s'":;(]+$/, ''))
    .filter((part) => part.length > 2)
    .every((part) => said.includes(part) || isMadeOf(said, part))
}

/** Tells whether the text consists of pieces of the source. Each piece is long enough, or ends at an inserted value. */
function isMadeOf(said: string, text: string): boolean {
  if (text === '') return true
  const ends = [...text.matchAll(/(?<=\S)(?=\s|$)/g)].map(({ index }) => index).reverse()
  return ends.some((end) => isPiece(said, text.slice(0, end)) && isMadeOf(said, text.slice(end).trimStart()))
}

function isPiece(said: string, text: string): boolean {
  if (text.length < 4) return false
  const literal = text.replaceAll(/[^\w\s]/g, '\\$&')
  const after = text.length < shortest ? ' \\$\\{' : '(?!\\w)'
  return new RegExp(`(?<!\\w)${literal}${after}`).test(said)
}
