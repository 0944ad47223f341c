import { VirtualBoxConfig } from '../../../providers/virtualbox/config.js'
import type { VirtualBoxResource } from '../../../providers/virtualbox/places.js'
import { DeploymentUuid, MachineName, resourceName } from '../../../src/core/names.js'

const uuid = DeploymentUuid.parse('0b7c3d1e-1111-4a2b-9c3d-000000000001')
const machine = MachineName.parse('web')

/** A machine for tests that touch nothing. */
export function plainResource(overrides: Partial<VirtualBoxResource> = {}): VirtualBoxResource {
  return {
    deployment: { uuid, name: 'plain' },
    machine,
    name: resourceName(uuid, machine),
    index: 1,
    config: VirtualBoxConfig.parse({}),
    allocation: {
      mac: '08:00:27:00:00:01',
      hostOnlyMac: '08:00:27:00:00:02',
      lanMac: '08:00:27:00:00:03',
      sshPort: 24_231,
      forwardPorts: [],
      lan: { address: '10.77.5.1' },
    },
    handle: undefined,
    identity: undefined,
    image: undefined,
    disks: '/nonexistent/disks/web',
    console: '/nonexistent/console/web.log',
    target: {
      host: undefined,
      port: undefined,
      user: undefined,
      hostKey: undefined,
      sshOptions: [],
      privilegeEscalation: [],
    },
    hostKey: undefined,
    ...overrides,
  }
}
