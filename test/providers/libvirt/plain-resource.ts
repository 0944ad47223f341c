import { LibvirtConfig } from '../../../providers/libvirt/config.js'
import type { LibvirtResource } from '../../../providers/libvirt/places.js'
import { DeploymentUuid, MachineName, resourceName } from '../../../src/core/names.js'

const uuid = DeploymentUuid.parse('0b7c3d1e-1111-4a2b-9c3d-000000000001')
const machine = MachineName.parse('web')

/** Makes a machine for tests that change nothing. */
export function plainResource(overrides: Partial<LibvirtResource> = {}): LibvirtResource {
  return {
    deployment: { uuid, name: 'plain' },
    machine,
    name: resourceName(uuid, machine),
    index: 1,
    config: LibvirtConfig.parse({}),
    allocation: {
      mac: '52:54:00:00:00:01',
      nics: ['52:54:00:00:00:02', '52:54:00:00:00:03'],
      sshPort: 24_231,
      forwardPorts: [],
      lan: { address: '10.77.5.1', group: '239.77.1.2', port: 11_000 },
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
