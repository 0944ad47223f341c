import type { Finding } from '../core/provider.js'
import type { HostProbe } from './host-probe.js'

/** Runs `ssh-add -l`: 0 = the agent has keys, 1 = no keys, 2 = no agent answers (ssh-add(1)). */
export async function checkSshAgent(host: HostProbe): Promise<Finding> {
  const id = 'ssh.agent'
  const socket = host.env.SSH_AUTH_SOCK
  if (socket === undefined || socket === '') {
    return {
      id,
      level: 'ok',
      what: 'there is no ssh agent (SSH_AUTH_SOCK is not set); keys without a passphrase need no agent',
    }
  }
  const asked = await host.run(['ssh-add', '-l'])
  if (asked?.kind === 'exited' && asked.code === 0)
    return { id, level: 'ok', what: 'the ssh agent answers and has keys' }
  if (asked?.kind === 'exited' && asked.code === 1) {
    return {
      id,
      level: 'note',
      what: 'the ssh agent answers, but has no keys',
      mend: 'ssh-add',
    }
  }
  return {
    id,
    level: 'problem',
    what: `SSH_AUTH_SOCK is set to ${socket}, but no ssh agent answers at that socket`,
    mend: 'eval "$(ssh-agent)" && ssh-add   # or: unset SSH_AUTH_SOCK',
  }
}
