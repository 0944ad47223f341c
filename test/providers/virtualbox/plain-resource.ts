import { VirtualBoxConfig } from '../../../providers/virtualbox/config.js'
import type { VirtualBoxResource } from '../../../providers/virtualbox/places.js'
import { plainMachine } from '../plain-machine.js'

/** Creates a machine for tests that change nothing. */
export function plainResource(overrides: Partial<VirtualBoxResource> = {}): VirtualBoxResource {
  const allocation = {
    mac: '08:00:27:00:00:01',
    hostOnlyMac: '08:00:27:00:00:02',
    lanMac: '08:00:27:00:00:03',
    sshPort: 24_231,
    forwardPorts: [],
    lan: { address: '10.77.5.1' },
  }
  return { ...plainMachine(VirtualBoxConfig.parse({}), allocation), ...overrides }
}
