import type { Resource } from '../../src/core/provider.js'
import type { Run } from '../../src/core/run.js'
import type { Ssh, SshTarget } from '../../src/core/ssh.js'
import type { SshAllocation, SshConfig, SshHandle } from './config.js'

/** The part of the SSH layer that finds a host and reads its banner. */
export type SshLayer = Pick<Ssh, 'resolveUserConfig' | 'waitForBanner' | 'showsKey'>

export type SshResource = Resource<SshConfig, SshAllocation, SshHandle>

/** Deadline for one address to show its host key. */
const keyMs = 10_000

/**
 * Finds the host: the first of several addresses that shows the known host key. If no address shows the key, the
 * first address is used, and its error names the fault.
 */
export async function targetOf(
  resource: SshResource,
  ssh: Omit<SshLayer, 'waitForBanner'>,
  run: Run,
): Promise<SshTarget> {
  const { host, hosts = [] } = resource.target
  const first = await targetOfHost(resource, host ?? resource.machine, ssh, run)
  if (hosts.length < 2) return first
  for (const [at, each] of hosts.entries()) {
    const target = at === 0 ? first : await targetOfHost(resource, each, ssh, run)
    if (await ssh.showsKey(target, { signal: run.signal, timeoutMs: keyMs })) return target
    run.log(`${each} does not show the host key of machine '${resource.machine}'`)
  }
  return first
}

/**
 * Takes each value from the expression, else from the user's ssh configuration, else from NixOps' defaults.
 */
async function targetOfHost(
  resource: SshResource,
  asked: string,
  ssh: Pick<Ssh, 'resolveUserConfig'>,
  run: Run,
): Promise<SshTarget> {
  const wanted = resource.target
  const config = await ssh.resolveUserConfig(asked, run, wanted)
  return {
    machine: resource.machine,
    host: config.hostName,
    askedHost: asked,
    port: config.port,
    user: config.user,
    // The expression comes first, so that the user can accept a host key that changed on purpose.
    hostKey: wanted.hostKey ?? resource.hostKey,
    identityFiles: config.identityFiles,
    certificateFiles: config.certificateFiles,
    useAgent: config.useAgent,
    agentSocket: config.agentSocket,
    identitiesOnly: config.identitiesOnly,
    existingHost: true,
    jump: config.jump,
    proxyCommand: config.proxyCommand,
    sshOptions: wanted.sshOptions,
    privilegeEscalation: wanted.privilegeEscalation,
  }
}
