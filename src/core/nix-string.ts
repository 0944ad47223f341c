/**
 * Returns a Nix string literal of exactly this text (nix.dev, "String literal"). Nix reads a bare carriage return as a
 * newline, and `${` as an interpolation. A Nix string cannot hold NUL.
 */
export function nixString(text: string): string {
  const escaped = text
    .replaceAll(/[\\"]|\$(?=\{)/g, '\\$&')
    .replaceAll('\n', '\\n')
    .replaceAll('\r', '\\r')
    .replaceAll('\t', '\\t')
  return `"${escaped}"`
}
