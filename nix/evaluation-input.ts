import { join } from 'node:path'
import { nixString } from '../src/core/nix-string.js'
import { packageRoot } from '../src/core/package-root.js'

/** Input of `eval.nix`, besides the function arguments. */
export interface EvaluationInput {
  readonly files: readonly string[]
  readonly physical: Readonly<Record<string, object>>
  readonly deployment: { readonly uuid: string; readonly name: string }
  readonly mode: 'shape' | 'tasks' | 'read' | 'write'
  /** Machines whose closures are wanted; null = all machines. */
  readonly only: readonly string[] | null
  /** Machines that failed to evaluate. */
  readonly exclude: readonly string[]
  /** Keys for which `deployment.<key>` is a set of a provider's options. */
  readonly optionKeys: readonly string[]
  /** The NixOS modules with the options of providers. */
  readonly providerModules: readonly string[]
  /** Options that a NixOS machine declares only to refuse them. */
  readonly refused: readonly string[]
  /**
   * NixOS machines of this evaluation: the first `first` beside all other machines, or only `names`; null = all.
   */
  readonly batch: { readonly first: number } | { readonly names: readonly string[] } | null
  /** Machines whose `nixos` image is evaluated instead of the network. */
  readonly images?: readonly string[]
  /** Option to show instead of the network. */
  readonly option?: {
    readonly path: readonly string[]
    /** The only machine to show; null = all. */
    readonly machine: string | null
    /** Whether to show the provider's facts instead of the option. */
    readonly physical: boolean
  }
}

export interface NixText {
  readonly text: string
  /** The function arguments and their lines in the text (1-based, both inclusive). */
  readonly arguments: readonly { readonly name: string; readonly from: number; readonly to: number }[]
}

/** Returns the folder of hydra-ops's own `.nix` files; positions in these files mean nothing to a user. */
export function ownNixFolder(): string {
  return join(packageRoot(), 'nix')
}

/**
 * Creates the expression for Nix's standard input, so that function arguments appear in no process list and no
 * file. Relative paths in arguments start at the current folder, as with `nix-build --arg`.
 */
export function evaluationText(input: EvaluationInput, args: Readonly<Record<string, string>>): NixText {
  const lines = [
    `import ${nixString(join(ownNixFolder(), 'eval.nix'))} {`,
    `input = builtins.fromJSON ${nixString(JSON.stringify(input))};`,
    'args = {',
  ]
  const places = Object.entries(args).map(([name, text]) => {
    const from = lines.length + 1
    // The closing parenthesis is on a separate line, because the argument may end with a comment.
    lines.push(`${nixString(name)} = (`, ...text.split('\n'), ');')
    return { name, from, to: lines.length }
  })
  lines.push('};', '}')
  return { text: lines.join('\n'), arguments: places }
}
