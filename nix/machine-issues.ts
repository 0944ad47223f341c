import { type OpsError, usageError } from '../src/core/errors.js'
import { optionName } from '../src/core/option-name.js'
import type { Issue } from './definition-errors.js'
import { shorten, subject } from './evaluation-errors.js'

/** A problem with its files. An error names the files that define the option if `files` is missing. */
export type FiledIssue = Issue & { readonly files?: readonly string[]; readonly hint?: string }

/** The part of a machine's evaluation that shows where options are defined. */
export interface DefinedOptions {
  readonly files: readonly string[]
  readonly origins: readonly {
    readonly path: readonly (string | number)[]
    readonly files: readonly string[]
  }[]
}

/** Combines all problems of a machine into one error, with one line for each. */
export function issuesError(
  name: string,
  raw: DefinedOptions,
  issues: readonly FiledIssue[],
  cwd: string,
): OpsError {
  const lines = issues.map((issue) => {
    const files = issue.files ?? originsOf(issue.path, raw)
    const option = issue.path.length === 0 ? '' : `${optionName(issue.path)}: `
    return `${subject(name, files, cwd)}${option}${shorten(issue.say, cwd)}`
  })
  const hint = issues.find((issue) => issue.hint !== undefined)?.hint
  return usageError(lines.join('\n'), { machine: name, ...(hint === undefined ? {} : { hint }) })
}

/** Finds the files that define an option, its parent, or its children. */
function originsOf(path: readonly (string | number)[], raw: DefinedOptions): readonly string[] {
  const isPrefix = (shorter: readonly (string | number)[], longer: readonly (string | number)[]) =>
    shorter.every((part, index) => part === longer[index])
  const holders = raw.origins.filter((origin) => isPrefix(origin.path, path))
  const held = raw.origins.filter((origin) => isPrefix(path, origin.path))
  const files = (holders.length > 0 ? holders : held).flatMap((origin) => origin.files)
  return files.length > 0 ? [...new Set(files)] : raw.files
}
