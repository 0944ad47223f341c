/**
 * Formats indented JSON for people and programs alike. Characters that a terminal could take for instructions are
 * escaped. JSON.stringify leaves DEL, C1 and the direction marks as they are.
 */
export function toJsonText(value: unknown): string {
  const text = JSON.stringify(value, undefined, 2) ?? 'null'
  return text.replace(/[\p{Bidi_Control}\p{Zl}\p{Zp}\u007f-\u009f]/gu, escaped)
}

function escaped(character: string): string {
  return `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`
}
