import type { Host, Ssh } from '../../../src/core/ssh.js'

/** A place in a script of hydra-ops, right before one of its lines. */
export interface Place {
  /** The script that hydra-ops sends, such as `nixos/begin`. Its text includes the scripts that stay on the machine. */
  readonly script: string
  /** The line, without its indentation. */
  readonly line: string
  /** The number of the line among several equal lines; the first is 1. */
  readonly nth?: number
}

/** Puts shell text before a line of a script. The text contains no apostrophe, because a script may be quoted there. */
export function putBefore(text: string, { line, nth = 1 }: Place, stop: string): string {
  const lines = text.split('\n')
  const found = lines.flatMap((each, at) => (withoutIndent(each) === line ? [at] : []))
  const at = found[nth - 1]
  if (at === undefined) throw new Error(`the script has ${found.length} lines '${line}', and not ${nth}`)
  return [...lines.slice(0, at), stop, ...lines.slice(at)].join('\n')
}

/** Returns a line as the source has it; an apostrophe of a quoted script is written as `'\\''`. */
function withoutIndent(line: string): string {
  return line.trim().replaceAll("'\\''", "'")
}

/** Creates an SSH layer whose scripts stop at a place, where they run the test's shell text. */
export function stoppingSsh(ssh: Ssh, place: Place, stop: string): Ssh {
  const begins = `# ${place.script}\n`
  const stopping = (host: Host): Host => {
    const script = host.script.bind(host)
    host.script = (text, args, options) =>
      script(text.startsWith(begins) ? putBefore(text, place, stop) : text, args, options)
    return host
  }
  return {
    ...ssh,
    connect: async (target, options) => {
      const { host, hostKey } = await ssh.connect(target, options)
      return { host: stopping(host), hostKey }
    },
  }
}
