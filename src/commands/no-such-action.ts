import type { Command } from 'commander'
import { usageError } from '../core/errors.js'
import { suggest } from '../core/suggest.js'

/** A word that is no part of a verb with parts, with the one that was meant. */
export function noSuchAction(wanted: string, command: Command): Error {
  const known = command.commands.map((each) => each.name())
  const close = suggest(wanted, known)
  const path = pathOf(command)
  return usageError(`${path} has no '${wanted}'`, {
    hint: close === undefined ? `there are: ${known.join(', ')}` : `did you mean: ${path} ${close}`,
  })
}

function pathOf(command: Command): string {
  return command.parent === null ? command.name() : `${pathOf(command.parent)} ${command.name()}`
}
