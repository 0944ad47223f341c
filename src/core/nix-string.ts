/**
 * A Nix string literal of exactly this text (nix.dev, "String literal"): a bare carriage return would be read as a
 * newline, and `${` begins an interpolation. Nix' strings hold no NUL.
 */
export function nixString(text: string): string {
  const escaped = text
    .replaceAll(/[\\"]|\$(?=\{)/g, '\\$&')
    .replaceAll('\n', '\\n')
    .replaceAll('\r', '\\r')
    .replaceAll('\t', '\\t')
  return `"${escaped}"`
}
