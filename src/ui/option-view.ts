import type { Json } from '../core/json.js'
import { nixString } from '../core/nix-string.js'
import { isNixName, optionName } from '../core/option-name.js'
import type { MachineOption } from '../core/reports.js'
import { printable, printableLines } from './printable.js'

/** Shows the answers of all machines about an option, each below the machine's name. */
export function optionView(answers: readonly MachineOption[]): string {
  if (answers.length === 0) return 'The network has no machines.'
  return answers
    .map((answer) =>
      [`${printable(answer.machine)}:`, ...linesOf(answer).map((line) => `  ${line}`)].join('\n'),
    )
    .join('\n\n')
}

function linesOf(answer: MachineOption): string[] {
  switch (answer.kind) {
    case 'set':
      return ['options below:', ...answer.names.map((name) => `  ${printable(optionName([name]))}`)]
    case 'facts':
      return answer.facts.length === 0
        ? ['The provider knows nothing about this machine.']
        : answer.facts.map(
            ({ option, value, priority, counts }) =>
              `${printable(optionName(option))} = ${priority === 1000 ? 'lib.mkDefault' : `lib.mkOverride ${priority}`} ${nixText(value)};${counts ? '' : ' # a definition of yours is stronger'}`,
          )
    case 'option':
      return [
        ...`value: ${nixText(answer.value)}`.split('\n'),
        ...(answer.type === 'unknown' ? [] : [`type: ${printable(answer.type)}`]),
        ...(answer.isDefault ? ['defined nowhere: this is the default'] : []),
        ...(answer.isDefault ? [] : answer.definitions.flatMap(definitionLines)),
      ]
  }
}

function definitionLines({ file, value }: { readonly file: string; readonly value: Json }): string[] {
  return value === null
    ? [`defined in ${printable(file)}`]
    : `defined in ${printable(file)}: ${nixText(value)}`.split('\n')
}

/** Writes a value as Nix does; each element of a list or set has its own line. */
export function nixText(value: Json): string {
  if (typeof value === 'string') return printableLines(nixString(value)).join('\n')
  if (Array.isArray(value)) {
    return value.length === 0 ? '[ ]' : `[\n${value.map((each) => inner(nixText(each))).join('\n')}\n]`
  }
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value)
    if (entries.length === 0) return '{ }'
    const lines = entries.map(([name, each]) =>
      inner(`${isNixName(name) ? name : nixString(name)} = ${nixText(each)};`),
    )
    return `{\n${lines.join('\n')}\n}`
  }
  return String(value)
}

function inner(text: string): string {
  return text.replace(/^/gm, '  ')
}
