import { localCommands } from '../../src/exec/local-commands.js'

/** Runs `printf` in the place of another program, so that the signal and the deadline hold. */
export const saying = (text: string, options: Parameters<typeof localCommands.run>[1]) =>
  localCommands.run(['printf', '%s', text], options)
