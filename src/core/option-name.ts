import { nixString } from './nix-string.js'

/** Keywords of the Nix language, which Nix does not accept as names. */
const keywords = new Set(['assert', 'else', 'if', 'in', 'inherit', 'let', 'rec', 'then', 'with'])

/** Tells whether Nix accepts a text as a name without quotes. */
export function isNixName(text: string): boolean {
  return /^[A-Za-z_][\w'-]*$/.test(text) && !keywords.has(text)
}

/** Formats the path of an option in Nix syntax: `deployment.files."/etc/motd".mode`. Numbers are not quoted. */
export function optionName(path: readonly (string | number)[]): string {
  return path
    .map((part) => (typeof part === 'number' || isNixName(part) ? String(part) : nixString(part)))
    .join('.')
}

/**
 * Parses the path of an option in Nix syntax, such as `services.nginx.virtualHosts."a.b"`; returns undefined for any
 * other text.
 */
export function optionPath(text: string): string[] | undefined {
  const path: string[] = []
  let rest = text
  for (;;) {
    const [part, quoted, bare] = /^(?:"((?:\\.|[^"\\])+)"|([^."\s]+))/.exec(rest) ?? []
    if (part === undefined) return undefined
    path.push(bare ?? (quoted ?? '').replace(/\\(.)/g, '$1'))
    rest = rest.slice(part.length)
    if (rest === '') return path
    if (!rest.startsWith('.')) return undefined
    rest = rest.slice(1)
  }
}
