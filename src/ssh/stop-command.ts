import type { Begun } from './framed-command.js'

/** How often, a tenth of a second apart, it is looked whether the processes have ended by themselves. */
const graceTicks = 30

/**
 * Ends a command by its process group, from a second channel: closing a channel does not, and sshd lets nobody signal
 * a root login's processes. sshd gives each command without a terminal a session, and so a group, of its own; the
 * mark in the command line of the sh guards against a number that was given out anew.
 */
export const stopScript = `
  pid=$1 group=$2 mark=$3
  [ "$group" -gt 1 ] || exit 3
  grep -q "$mark" "/proc/$pid/cmdline" 2>/dev/null || exit 0
  kill -TERM "-$group" 2>/dev/null
  tick=0
  while kill -0 "-$group" 2>/dev/null && [ "$tick" -lt ${graceTicks} ]; do
    sleep 0.1
    tick=$((tick + 1))
  done
  kill -KILL "-$group" 2>/dev/null
  exit 0
`

export function stopArguments(begun: Begun, nonce: { readonly left: string }): string[] {
  return [begun.pid, begun.group, nonce.left]
}
