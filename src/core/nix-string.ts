/**
 * Returns a Nix string literal for exactly this text (nix.dev, "String literal"). Nix would read a bare carriage
 * return as a newline, and `${` as an interpolation. A Nix string cannot contain NUL.
 */
export function nixString(text: string): string {
  const escaped = text
    .replaceAll(/[\\"]|\$(?=\{)/g, '\\$&')
    .replaceAll('\n', '\\n')
    .replaceAll('\r', '\\r')
    .replaceAll('\t', '\\t')
  return `"${escaped}"`
}
