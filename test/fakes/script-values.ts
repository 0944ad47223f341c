/** A script of target/ in the form that a machine receives: its name and its values. */
export interface GivenScript {
  /** The name; undefined for a text that is not a file of target/. */
  readonly name: string | undefined
  readonly values: Readonly<Record<string, string>>
}

/** Parses the name and the values from a script text that src/remote/target-scripts.ts creates. */
export function readScript(text: string): GivenScript {
  const [head = '', name] = /^# ([a-z0-9/-]+)\n/.exec(text) ?? []
  const values: Record<string, string> = {}
  const line = /([a-z][a-z0-9_]*)=((?:[\w@%+=:,./-]|'[^']*'|\\')*)\n/y
  line.lastIndex = head.length
  for (let found = line.exec(text); name !== undefined && found !== null; found = line.exec(text)) {
    const [, variable = '', word = ''] = found
    values[variable] = word.replaceAll(/'([^']*)'|\\'/g, (quoted, inside) =>
      quoted === "\\'" ? "'" : inside,
    )
  }
  return { name, values }
}

/** Returns the items of a list. */
export function linesOf(list: string | undefined): string[] {
  return list === undefined || list === '' ? [] : list.split('\n')
}

/** Returns the fields of each record of a list. */
export function recordsOf(list: string | undefined): string[][] {
  return linesOf(list).map((line) => line.split(':').map(decoded))
}

function decoded(field: string): string {
  return field.replaceAll(/\\0([0-7]{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8)))
}
