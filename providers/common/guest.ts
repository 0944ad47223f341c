import type { IdentityMethod } from '../../src/core/image.js'
import type { Resource } from '../../src/core/provider.js'
import type { SshTarget } from '../../src/core/ssh.js'
import type { Guest, GuestNic } from './identity.js'
import { userNetwork } from './user-network.js'

type GuestResource = Pick<Resource<unknown, unknown, unknown>, 'machine' | 'name' | 'identity'>

/** Chooses how the guest gets its identity: by the option, or else by the image's record. */
export function identityMethod(
  { config }: { readonly config: { readonly baseImageIdentity: IdentityMethod | null } },
  image: { readonly identity: IdentityMethod },
): IdentityMethod {
  return config.baseImageIdentity ?? image.identity
}

/** Outbound access of a guest, through its first network interface. */
export interface WayOut {
  readonly mac: string
  readonly outbound: boolean
  /** The option that disables outbound access, for a comment in a file of the guest. */
  readonly closedBy: string
}

/** Describes the machine for its first boot. The first interface carries ssh; `others` follow. */
export function guestOf(resource: GuestResource, way: WayOut, others: readonly GuestNic[]): Guest {
  const { machine, name, identity } = resource
  return {
    machine,
    name,
    identity,
    nics: [
      {
        name: 'management',
        mac: way.mac,
        address: userNetwork.guest,
        // Outbound connections of a guest without a gateway fail at once, and do not wait for a deadline.
        ...(way.outbound ? { gateway: userNetwork.gateway } : {}),
      },
      ...others,
    ],
    nameServer: way.outbound ? userNetwork.nameServer : undefined,
    closedBy: way.closedBy,
  }
}

type ReachedResource = Pick<
  Resource<unknown, { readonly sshPort: number }, unknown>,
  'machine' | 'allocation' | 'hostKey' | 'identity' | 'target'
>

/** Returns the ssh target of a machine whose ssh port is forwarded to this host's loopback. */
export function forwardedTarget(resource: ReachedResource): SshTarget {
  const { machine, allocation, hostKey, identity, target } = resource
  return {
    machine,
    host: '127.0.0.1',
    port: allocation.sshPort,
    user: 'root',
    hostKey,
    identityFiles: identity === undefined ? [] : [identity.identityFile],
    useAgent: false,
    jump: undefined,
    proxyCommand: undefined,
    sshOptions: target.sshOptions,
    privilegeEscalation: target.privilegeEscalation,
  }
}
