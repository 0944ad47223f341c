/** A command of a recorded session: its output, its exit code, and the tables that were queried afterwards. */
export interface TranscriptStep {
  readonly command: string
  readonly output: string
  readonly status: number
  /** The tables as psql printed them below the command. */
  readonly tables: readonly string[]
}

/** Returns the steps of a transcript: `$ command`, output, `[rc=N]`, tables. Other text is skipped. */
export function readSteps(text: string): TranscriptStep[] {
  return text
    .split(/^\$ /m)
    .slice(1)
    .flatMap((part) => {
      const ended = /^\[rc=(\d+)\](?:.*)$/m.exec(part)
      if (ended === null) return []
      const [command = '', ...output] = part.slice(0, ended.index).split('\n')
      const rest = part.slice(ended.index + ended[0].length).split(/^###/m)[0] ?? ''
      const tables = [...rest.matchAll(/^ .*\n[-+]+\n(?:.*\n)*?\(\d+ rows?\)$/gm)].map(([table]) => table)
      return [{ command, output: comparableOutput(output.join('\n')), status: Number(ended[1]), tables }]
    })
}

/** Returns output without the places of errors in Perl's files, and without Perl's warnings about Hydra's files. */
export function comparableOutput(text: string): string {
  return text
    .replace(/^Subroutine \w+ redefined at .*\n/gm, '')
    .replace(/^(?:Compilation failed in require|BEGIN failed--compilation aborted) at .*\n?/gm, '')
    .replace(/ at \S+ line \d+(?:, <[^>]*> line \d+)?\.?/g, '')
    .replace(/\S*\/(hydra-[a-z-]+):/g, '$1:')
    .replace(/\[for Statement [\s\S]*/, '')
    .replace(/\nLINE 1:[\s\S]*/, '')
    .replace(/socket "[^"]*\/(\.s\.PGSQL\.\d+)"/g, 'socket "$1"')
    .trim()
}

/** Returns a table with the varying part of each hash replaced by dots. */
export function comparableTable(table: string): string {
  return table.trim().replaceAll(/(\$argon2id\$v=19\$m=262144,t=3,p=1\$)[A-Za-z0-9+/]{8}/g, '$1........')
}
