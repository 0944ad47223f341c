import { type Command, InvalidArgumentError, Option } from 'commander'
import type { Selection } from '../network/selection.js'

export interface SelectionFlags {
  readonly on?: string | undefined
  readonly include?: string[] | undefined
  readonly exclude?: string[] | undefined
}

/** Adds `-d`, and for verbs with output also `--json` and `--plain`. */
export function commonFlags(
  command: Command,
  kinds: { readonly deployment?: boolean; readonly json?: boolean; readonly plain?: boolean },
): void {
  if (kinds.deployment ?? true) {
    command.option(
      '-d, --deployment <name>',
      'name, UUID or beginning of a UUID (default: the only deployment)',
    )
  }
  command.option(
    '--state <dir>',
    'folder of the state (default: $HYDRA_OPS_STATE, or ~/.local/state/hydra-ops)',
  )
  if (kinds.json === true) command.option('--json', 'print JSON')
  if (kinds.plain === true)
    command.option('--plain', 'print lines for scripts, with fields separated by tabs')
  command.option('--no-color', 'print without colours (also: NO_COLOR)')
  command.option('--debug', 'show the stack trace of an error')
}

/** Adds `--on`, and `--include`/`--exclude` as in NixOps. */
export function selectionFlags(command: Command): void {
  command.option('--on <machines>', "machines by name, pattern or tag: 'a,b*,@tag,!x' (! = not)")
  command.option('--include <machine...>', 'only these machines')
  command.option('--exclude <machine...>', 'all but these machines')
}

export function selectionOf(flags: SelectionFlags): Selection {
  return { on: flags.on, include: flags.include, exclude: flags.exclude }
}

/** Adds `-y`, and NixOps' name for the same flag. */
export function yesFlag(command: Command): void {
  command.option('-y, --yes', 'do not ask')
  command.addOption(new Option('--confirm', 'same as --yes').hideHelp())
}

export interface YesFlags {
  readonly yes?: boolean | undefined
  readonly confirm?: boolean | undefined
}

export function saysYes(flags: YesFlags): boolean {
  return flags.yes === true || flags.confirm === true
}

export function maxConcurrentFlag(command: Command): void {
  command.option('--max-concurrent <n>', 'maximum number of machines at once (default: 10)', positive)
}

/** The value of `--max-concurrent` if neither a flag nor a preference sets it. */
const atOnce = 10

export function maxConcurrentOf(
  flags: { readonly maxConcurrent?: number | undefined },
  preferences: { readonly maxConcurrent?: number | undefined },
): number {
  return flags.maxConcurrent ?? preferences.maxConcurrent ?? atOnce
}

export function positive(text: string): number {
  const number = Number(text)
  if (!/^\d+$/.test(text) || number < 1) throw new InvalidArgumentError('expected a whole number above 0')
  return number
}

/** Collects the values of a flag that may be repeated. */
export function collect(value: string, previous: string[] | undefined): string[] {
  return [...(previous ?? []), value]
}

/** Collects flags with a name and a value (`--arg NAME VALUE`), which `joinPairs` joined into one word. */
export function collectPair(
  value: string,
  previous: (readonly [string, string])[] | undefined,
): (readonly [string, string])[] {
  const at = value.indexOf(pairMark)
  return [...(previous ?? []), [value.slice(0, at), value.slice(at + 1)]]
}

/** Separator that cannot occur in a process argument. */
export const pairMark = '\0'

export function example(command: Command, ...lines: readonly string[]): void {
  const plural = lines.length > 1 ? 's' : ''
  command.addHelpText('after', `\nExample${plural}:\n${lines.map((line) => `  ${line}`).join('\n')}`)
}
