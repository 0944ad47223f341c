import { unreachable } from '../core/errors.js'
import type { SshTarget } from '../core/ssh.js'
import type { Outcome } from './framed-command.js'

/** Builds the error for a login that succeeded but could run no command. */
export function loginShellBroken(target: SshTarget, outcome: Outcome): Error {
  const { machine, user } = target
  const said = outcome.kind === 'not begun' ? outcome.said : ''
  const how =
    outcome.kind === 'not begun' ? `ends at once (status ${outcome.code ?? 'unknown'})` : 'was cut off'
  return unreachable(
    machine,
    `machine '${machine}': cannot run commands, because the login shell of '${user}' ${how}`,
    {
      hint: `check the login shell and its start files with: ssh ${user}@${target.host} true`,
      ...(said === '' ? {} : { detail: said }),
    },
  )
}
