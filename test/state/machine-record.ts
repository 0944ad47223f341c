import type { MachineRecord } from '../../src/core/deployment.js'

export function machineRecord(given: Partial<MachineRecord> = {}): MachineRecord {
  return {
    provider: 'libvirt',
    os: 'debian',
    index: 1,
    allocation: { sshPort: 24231, macs: ['52:54:00:12:34:56'] },
    obsolete: false,
    tasks: {},
    keys: {},
    facts: {},
    ...given,
  }
}
