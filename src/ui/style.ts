import picocolors from 'picocolors'

export type Paint = (text: string) => string

/** The styles of output, named by their meaning. */
export interface Style {
  readonly good: Paint
  readonly bad: Paint
  readonly warn: Paint
  readonly faint: Paint
  readonly strong: Paint
}

export function createStyle(coloured: boolean): Style {
  const colours = picocolors.createColors(coloured)
  return {
    good: colours.green,
    bad: colours.red,
    warn: colours.yellow,
    faint: colours.dim,
    strong: colours.bold,
  }
}

/**
 * Tells whether to use colours: not with `--no-color`, NO_COLOR (https://no-color.org: set and not empty), a dumb
 * terminal or no terminal.
 */
export function wantsColour(
  stream: { readonly isTTY?: boolean | undefined },
  flag: boolean,
  env: Readonly<Record<string, string | undefined>>,
): boolean {
  const refused = env.NO_COLOR !== undefined && env.NO_COLOR !== ''
  return flag && !refused && stream.isTTY === true && env.TERM !== 'dumb'
}
