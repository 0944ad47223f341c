/** What a program may say, as one text: its source without comments, and without escapes. */
export function whatItSays(source: string): string {
  return source
    .replaceAll(/^\s*(?:\/\/|\*\s|\/\*|#).*$/gm, '')
    .replaceAll(/\\(['"`])/g, '$1')
    .replaceAll(/\s+/g, ' ')
}

/** Shorter pieces occur anywhere. */
const shortest = 11

/**
 * May a program of this source print the message? `…` in it stands for what is filled in, and so may be where two
 * pieces of the source meet.
 */
export function mayPrint(said: string, message: string): boolean {
  return message
    .split('…')
    .map((part) => part.replace(/^\W+/, '').replace(/[\s'":;(]+$/, ''))
    .filter((part) => part.length > 2)
    .every((part) => said.includes(part) || isMadeOf(said, part))
}

/** Of pieces that are long enough to be told from chance, or that go up to where something is filled in. */
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
