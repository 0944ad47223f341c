import { failure, OpsError, unreachable } from '../../src/core/errors.js'
import type { Run } from '../../src/core/run.js'
import { waitForHost } from './look.js'
import type { SshLayer, SshResource } from './target.js'

/** Succeeds for a host that answers; hydra-ops cannot start any other host. */
export async function startMachine(ssh: SshLayer, resource: SshResource, run: Run): Promise<undefined> {
  const { machine } = resource
  try {
    await waitForHost(ssh, resource, run)
  } catch (error) {
    if (!(error instanceof OpsError) || error.code !== 'UNREACHABLE') throw error
    throw unreachable(machine, error.message, {
      hint: `machine '${machine}' is an existing host (provider ssh); hydra-ops cannot switch it on`,
      cause: error,
    })
  }
}

/** Refuses to stop a host, because hydra-ops could not start the host again. */
export async function stopMachine({ machine }: SshResource): Promise<void> {
  throw failure(
    'NOT_OURS',
    `machine '${machine}' is an existing host (provider ssh); hydra-ops does not stop it, because hydra-ops could not start it again`,
    { machine, hint: `hydra-ops ssh ${machine} -- systemctl poweroff switches the host off` },
  )
}
