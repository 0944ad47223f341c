import { nixString } from './nix-string.js'

/** Keywords of the language, which Nix does not accept as names. */
const keywords = new Set(['assert', 'else', 'if', 'in', 'inherit', 'let', 'rec', 'then', 'with'])

/** Tells whether Nix reads an unquoted text as a name. */
export function isNixName(text: string): boolean {
  return /^[A-Za-z_][\w'-]*$/.test(text) && !keywords.has(text)
}

/** Formats an option as Nix writes it: `deployment.files."/etc/motd".mode`. A number stays bare. */
export function optionName(path: readonly (string | number)[]): string {
  return path
    .map((part) => (typeof part === 'number' || isNixName(part) ? String(part) : nixString(part)))
    .join('.')
}
