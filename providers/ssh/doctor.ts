import { messageOf, OpsError } from '../../src/core/errors.js'
import type { Finding } from '../../src/core/provider.js'
import type { Run } from '../../src/core/run.js'
import type { Ssh } from '../../src/core/ssh.js'

/** Checks the user's ssh configuration, which every connection to an existing host reads first. */
export async function doctor(ssh: Pick<Ssh, 'resolveUserConfig'>, run: Run): Promise<Finding[]> {
  const id = 'ssh.config'
  try {
    await ssh.resolveUserConfig('localhost', run, { user: undefined, port: undefined, sshOptions: [] })
    return [{ id, level: 'ok', what: 'the ssh configuration can be read' }]
  } catch (error) {
    if (error instanceof OpsError && error.code === 'INTERRUPTED') throw error
    const detail = error instanceof OpsError && error.detail !== undefined ? ` (${error.detail})` : ''
    return [
      {
        id,
        level: 'problem',
        what: `the ssh configuration cannot be read: ${messageOf(error)}${detail}`,
        mend: 'ssh -G localhost   # names the file and line of ~/.ssh/config with the mistake',
      },
    ]
  }
}
