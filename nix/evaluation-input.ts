import { join } from 'node:path'
import { nixString } from '../src/core/nix-string.js'
import { packageRoot } from '../src/core/package-root.js'

/** What `eval.nix` is told, besides the function arguments. */
export interface EvaluationInput {
  readonly files: readonly string[]
  readonly physical: Readonly<Record<string, object>>
  readonly deployment: { readonly uuid: string; readonly name: string }
  readonly mode: 'shape' | 'read' | 'write'
  /** Whose closures are wanted; null = everybody's. */
  readonly only: readonly string[] | null
  /** Machines that were found not to evaluate. */
  readonly exclude: readonly string[]
  /** The `deployment.<key>` that are sets of a provider's options. */
  readonly optionKeys: readonly string[]
}

export interface NixText {
  readonly text: string
  /** Which function argument stands on these lines (1-based, both inclusive). */
  readonly arguments: readonly { readonly name: string; readonly from: number; readonly to: number }[]
}

/** The folder whose `.nix` files are ours: positions in them mean nothing to a user. */
export function ownNixFolder(): string {
  return join(packageRoot(), 'nix')
}

/**
 * The expression that Nix reads on its standard input: there function arguments are in no process list and in
 * no file, and relative paths in them are taken from the current folder, as those of `nix-build --arg`.
 */
export function evaluationText(input: EvaluationInput, args: Readonly<Record<string, string>>): NixText {
  const lines = [
    `import ${nixString(join(ownNixFolder(), 'eval.nix'))} {`,
    `input = builtins.fromJSON ${nixString(JSON.stringify(input))};`,
    'args = {',
  ]
  const places = Object.entries(args).map(([name, text]) => {
    const from = lines.length + 1
    // On lines of its own, so that a comment in it ends there.
    lines.push(`${nixString(name)} = (`, ...text.split('\n'), ');')
    return { name, from, to: lines.length }
  })
  lines.push('};', '}')
  return { text: lines.join('\n'), arguments: places }
}
