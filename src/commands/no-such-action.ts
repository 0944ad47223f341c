import type { Command } from 'commander'
import { usageError } from '../core/errors.js'
import { suggest } from '../core/suggest.js'

/** Creates the error for an unknown action of a verb, and suggests the action that was probably meant. */
export function noSuchAction(wanted: string, command: Command): Error {
  const known = command.commands.map((each) => each.name())
  const close = suggest(wanted, known)
  const path = pathOf(command)
  return usageError(`${path} has no action '${wanted}'`, {
    hint: close === undefined ? `the actions are ${known.join(', ')}` : `did you mean: ${path} ${close}`,
  })
}

function pathOf(command: Command): string {
  return command.parent === null ? command.name() : `${pathOf(command.parent)} ${command.name()}`
}
