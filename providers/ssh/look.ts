import { messageOf, OpsError } from '../../src/core/errors.js'
import type { Observation } from '../../src/core/provider.js'
import type { Run } from '../../src/core/run.js'
import { type SshLayer, type SshResource, targetOf } from './target.js'

/** Deadline for one look at a running host. A slow name server or a sleeping disk must not exceed it. */
const lookMs = 5_000

export async function inspect(ssh: SshLayer, resource: SshResource, run: Run): Promise<Observation> {
  try {
    await waitForHost(ssh, resource, run)
    return { kind: 'running' }
  } catch (error) {
    if (!(error instanceof OpsError) || error.code === 'INTERRUPTED') throw error
    return { kind: 'unknown', reason: messageOf(error) }
  }
}

/** Waits until the host's ssh server answers. */
export async function waitForHost(ssh: SshLayer, resource: SshResource, run: Run): Promise<void> {
  const target = await targetOf(resource, ssh, run)
  await ssh.waitForBanner(target, { signal: run.signal, timeoutMs: lookMs })
}
