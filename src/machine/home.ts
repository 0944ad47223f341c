import { offerTask } from '../core/builder-offer.js'
import type { MachineDefinition } from '../core/definition.js'
import type { MachineRecord } from '../core/deployment.js'
import type { Host, RemoteOptions } from '../core/ssh.js'

/**
 * Says whether a machine is only a Nix in somebody's home, without root for hydra-ops: by its definition, or else by
 * its last deploy.
 */
export function isInHome(
  definition: Pick<MachineDefinition, 'options'> | undefined,
  record: Pick<MachineRecord, 'tasks'> | undefined,
): boolean {
  if (definition !== undefined) return definition.options.builder.wrapper != null
  return record?.tasks[offerTask]?.outputs.in === 'home'
}

/** Makes a connection that runs every command as the user who logged in. */
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
