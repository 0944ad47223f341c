import { LibvirtConfig } from '../../../providers/libvirt/config.js'
import type { LibvirtResource } from '../../../providers/libvirt/places.js'
import { plainMachine } from '../plain-machine.js'

/** Creates a machine for tests that change nothing. */
export function plainResource(overrides: Partial<LibvirtResource> = {}): LibvirtResource {
  const allocation = {
    mac: '52:54:00:00:00:01',
    nics: ['52:54:00:00:00:02', '52:54:00:00:00:03'],
    sshPort: 24_231,
    forwardPorts: [],
    lan: { address: '10.77.5.1', group: '239.77.1.2', port: 11_000 },
  }
  return { ...plainMachine(LibvirtConfig.parse({}), allocation), ...overrides }
}
