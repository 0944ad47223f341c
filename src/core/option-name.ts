import { nixString } from './nix-string.js'

/** Words of the language, which Nix reads as no name. */
const keywords = new Set(['assert', 'else', 'if', 'in', 'inherit', 'let', 'rec', 'then', 'with'])

/** Tells whether Nix reads a text as a name where it stands without quotes. */
export function isNixName(text: string): boolean {
  return /^[A-Za-z_][\w'-]*$/.test(text) && !keywords.has(text)
}

/** Names an option as one would write it in Nix: `deployment.files."/etc/motd".mode`. A number stays bare. */
export function optionName(path: readonly (string | number)[]): string {
  return path
    .map((part) => (typeof part === 'number' || isNixName(part) ? String(part) : nixString(part)))
    .join('.')
}
