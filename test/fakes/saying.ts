import { localCommands } from '../../src/exec/local-commands.js'

/** Runs `printf` instead of another program, so that the signal and the deadline apply. */
export const saying = (text: string, options: Parameters<typeof localCommands.run>[1]) =>
  localCommands.run(['printf', '%s', text], options)
