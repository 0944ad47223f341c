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

/** Reads the path of an option as Nix writes it: `services.nginx.virtualHosts."a.b"`; undefined for another text. */
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
