import { buildDomainXml } from '../../../providers/libvirt/domain-xml.js'
import { saying } from '../../fakes/saying.js'
import { plainResource } from './plain-resource.js'

/** A libvirt guest that ignores the power button. */
export const guest = plainResource()
const domainText = buildDomainXml({
  name: guest.name,
  uuid: '9ad8e919-f49d-8898-923f-6eed0563c4f8',
  deployment: guest.deployment.uuid,
  machine: guest.machine,
  type: 'qemu',
  memoryMiB: 1024,
  vcpu: 1,
  kernel: undefined,
  initrd: undefined,
  cmdline: undefined,
  credential: undefined,
  identity: '0011223344556677',
  disks: [{ dev: 'vda', path: '/disks/web/disk.qcow2', format: 'qcow2' }],
  mac: '52:54:00:aa:01:01',
  outbound: false,
  forwards: [],
  nics: [],
  console: '/console/web.log',
  headless: true,
  extraDevicesXML: '',
  extraDomainXML: '',
  base: undefined,
})

/** A libvirt whose only guest runs. */
export const hypervisor = {
  local: {
    run: (argv: readonly string[], options: Parameters<typeof saying>[1]) =>
      saying(
        argv.includes('dumpxml')
          ? domainText
          : argv.includes('dominfo')
            ? 'State:   running\nAutostart:   disable\n'
            : '',
        options,
      ),
  },
  uid: 1000,
  kvm: async () => ({ works: false, why: 'a test' }) as const,
  systemRoot: '/nonexistent',
  interfaces: '/sys/class/net',
}
