import { localCommands } from '../../src/exec/local-commands.js'

/** Prints a text with `printf` in place of a real program, so that the signal and the deadline still apply. */
export const saying = (text: string, options: Parameters<typeof localCommands.run>[1]) =>
  localCommands.run(['printf', '%s', text], options)
