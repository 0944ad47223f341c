import { DeploymentUuid, MachineName, resourceName } from '../../src/core/names.js'
import type { Resource } from '../../src/core/provider.js'

const uuid = DeploymentUuid.parse('0b7c3d1e-1111-4a2b-9c3d-000000000001')
const machine = MachineName.parse('web')

/** Target of a machine without any options for ssh. */
export const noTarget: Resource<unknown, unknown, unknown>['target'] = {
  host: undefined,
  port: undefined,
  user: undefined,
  hostKey: undefined,
  sshOptions: [],
  privilegeEscalation: [],
}

/** Creates a machine of any provider for tests that change nothing. */
export function plainMachine<Config, Allocation, Handle>(
  config: Config,
  allocation: Allocation,
): Resource<Config, Allocation, Handle> {
  return {
    deployment: { uuid, name: 'plain' },
    machine,
    name: resourceName(uuid, machine),
    index: 1,
    config,
    allocation,
    handle: undefined,
    identity: undefined,
    image: undefined,
    disks: '/nonexistent/disks/web',
    console: '/nonexistent/console/web.log',
    target: noTarget,
    hostKey: undefined,
  }
}
