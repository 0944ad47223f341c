import { offerTask } from '../core/builder-offer.js'
import type { MachineDefinition } from '../core/definition.js'
import type { MachineRecord } from '../core/deployment.js'
import type { Host, RemoteOptions } from '../core/ssh.js'

/**
 * Returns whether hydra-ops manages only Nix in a user's home on this machine, without root. The definition decides, or
 * else the last deploy.
 */
export function isInHome(
  definition: Pick<MachineDefinition, 'options'> | undefined,
  record: Pick<MachineRecord, 'tasks'> | undefined,
): boolean {
  if (definition !== undefined) return definition.options.builder.wrapper != null
  return record?.tasks[offerTask]?.outputs.in === 'home'
}

/** Returns a connection that runs every command as the login user. */
export function withoutRoot(host: Host): Host {
  const asLoginUser = (options: RemoteOptions) => ({ ...options, asLoginUser: true })
  return {
    machine: host.machine,
    target: host.target,
    get escalation() {
      return host.escalation
    },
    get noisyShell() {
      return host.noisyShell
    },
    exec: (argv, options) => host.exec(argv, asLoginUser(options)),
    script: (text, args, options) => host.script(text, args, asLoginUser(options)),
    forwardFromRemote: (port, options) => host.forwardFromRemote(port, options),
    connectTcp: (address, port, options) => host.connectTcp(address, port, options),
    close: () => host.close(),
  }
}
