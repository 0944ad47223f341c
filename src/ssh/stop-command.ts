import { targetFile, valueLine } from '../core/target-file.js'
import { argvScript } from './command-line.js'
import type { Begun } from './framed-command.js'

/** The number of checks, a tenth of a second apart, whether the processes have ended by themselves. */
const graceTicks = 30

/**
 * Makes a command for a second channel that ends another command by its process group. A closed channel ends nothing,
 * and sshd lets nobody signal the processes of a root login.
 */
export function stopCommand({ pid, group }: Begun, nonce: { readonly left: string }): string {
  const values = Object.entries({ pid, group, mark: nonce.left, ticks: graceTicks })
  return argvScript(['sh', '-c', values.map(valueLine).join('') + targetFile('stop-command.sh')])
}
