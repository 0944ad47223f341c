import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { BaseImage } from '../../src/core/image.js'
import { DeploymentUuid, MachineName, resourceName } from '../../src/core/names.js'
import type { Provider, Resource } from '../../src/core/provider.js'
import { noTarget } from './plain-machine.js'

/** Parts of a hypervisor's session that are needed to allocate a machine. */
export interface SessionParts<Config, Allocation, Handle> {
  /** The folders of the deployments, laid out as in a state folder. */
  readonly deployments: string
  readonly image: BaseImage
  readonly provider: Pick<Provider<Config, Allocation, Handle>, 'allocate'>
  program(argv: readonly string[]): Promise<string>
}

let made = 0

/**
 * Allocates a machine with keys, in a new deployment unless the overrides name a deployment. Nothing else is created.
 */
export async function sessionMachine<Config, Allocation, Handle>(
  { deployments, image, provider, program }: SessionParts<Config, Allocation, Handle>,
  config: Config,
  overrides: Partial<Resource<Config, Allocation, Handle>>,
): Promise<Resource<Config, Allocation, Handle>> {
  made += 1
  const uuid = overrides.deployment?.uuid ?? DeploymentUuid.parse(crypto.randomUUID())
  const machine = overrides.machine ?? MachineName.parse(`web${made}`)
  const root = join(deployments, uuid)
  const keys = join(root, 'keys', machine)
  mkdirSync(keys, { recursive: true })
  const keyFile = join(keys, 'ssh_host_ed25519_key')
  await program(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-C', 'test', '-f', keyFile])
  const publicKey = (await program(['ssh-keygen', '-y', '-f', keyFile]))
    .split(' ')
    .slice(0, 2)
    .join(' ')
    .trim()
  const index = overrides.index ?? 1
  return {
    deployment: { uuid, name: 'session' },
    machine,
    name: resourceName(uuid, machine),
    index,
    config,
    allocation: await provider.allocate({
      deployment: uuid,
      machine,
      index,
      config,
      known: undefined,
      takenPorts: new Set(),
      siblings: new Map(),
    }),
    handle: undefined,
    identity: {
      hostName: machine,
      hostKeyFile: keyFile,
      hostKeyPublic: publicKey,
      // One key suffices for everything, because only tests see these machines.
      authorizedKey: publicKey,
      identityFile: keyFile,
    },
    image,
    disks: join(root, 'disks', machine),
    console: join(root, 'console', `${machine}.log`),
    target: noTarget,
    hostKey: publicKey,
    ...overrides,
  }
}
