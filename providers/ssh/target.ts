import type { Resource } from '../../src/core/provider.js'
import type { Run } from '../../src/core/run.js'
import type { Ssh, SshTarget } from '../../src/core/ssh.js'
import type { SshAllocation, SshConfig, SshHandle } from './config.js'

/** The part of the SSH layer that finds and greets a host. */
export type SshLayer = Pick<Ssh, 'resolveUserConfig' | 'waitForBanner'>

export type SshResource = Resource<SshConfig, SshAllocation, SshHandle>

/** Combines the expression, then the user's ssh configuration of that host, then NixOps' defaults. */
export async function targetOf(
  resource: SshResource,
  ssh: Pick<Ssh, 'resolveUserConfig'>,
  run: Run,
): Promise<SshTarget> {
  const wanted = resource.target
  const asked = wanted.host ?? resource.machine
  const config = await ssh.resolveUserConfig(asked, run, wanted)
  return {
    machine: resource.machine,
    host: config.hostName,
    askedHost: asked,
    port: config.port,
    user: config.user,
    // The expression comes first, so that the user accepts a host whose key changed on purpose.
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
