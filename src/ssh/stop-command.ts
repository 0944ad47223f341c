import { targetFile, valueLine } from '../core/target-file.js'
import { argvScript } from './command-line.js'
import type { Begun } from './framed-command.js'

/** The time in tenths of a second for the processes to end after SIGTERM. */
const graceTicks = 30

/**
 * Builds a command for a second channel that ends another command by its process group. Closing a channel does not end
 * its command, and sshd refuses to signal the processes of a root login.
 */
export function stopCommand({ pid, group }: Begun, nonce: { readonly left: string }): string {
  const values = Object.entries({ pid, group, mark: nonce.left, ticks: graceTicks })
  return argvScript(['sh', '-c', values.map(valueLine).join('') + targetFile('stop-command.sh')])
}
