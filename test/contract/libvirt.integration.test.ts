import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { LibvirtConfig } from '../../providers/libvirt/config.js'
import { DeploymentUuid } from '../../src/core/names.js'
import { readDisk, writeDisk } from '../providers/libvirt/disk-content.js'
import { defineForeign, openSession } from '../providers/libvirt/session.js'
import { providerContract } from './provider-contract.js'

/** Lists the files of machines, without the keys that the test creates for the machines. */
function filesBelow(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => /\/(?:disks|console)\//.test(path))
}

providerContract('libvirt', {
  makesMachines: true,
  keepsSnapshots: true,
  open: async () => {
    const session = await openSession()
    const base = { baseImage: 'empty', memorySize: 64, baseImageSize: 1 }
    return {
      provider: session.provider,
      run: session.run,
      configExamples: [
        {},
        { vcpu: 2, memorySize: 2048, networks: ['lan', { bridge: 'br0' }, { network: 'default' }] },
        { forwardPorts: [{ host: 8080, guest: 80 }], outbound: false, extraDisks: { data: 5 } },
        {
          baseImage: 'https://images.example/x.qcow2',
          baseImageSha256: 'a'.repeat(64),
          kernel: '',
          cmdline: '',
        },
      ],
      makeResource: (overrides) => session.makeResource({ baseImageSize: 1 }, overrides),
      changedConfig: LibvirtConfig.parse({
        ...base,
        vcpu: 2,
        baseImageSize: 2,
        networks: [],
        outbound: false,
        extraDisks: { data: 1 },
        autostart: true,
      }),
      listing: async () => {
        // Other tests use the same libvirt at the same time.
        const deployments = readdirSync(session.deployments).filter(
          (name) => DeploymentUuid.safeParse(name).success,
        )
        const names = async (...flags: string[]) =>
          (await session.virsh('list', ...flags, '--name'))
            .split('\n')
            .filter((name) => deployments.some((uuid) => name.includes(uuid)))
        const running = (await names()).map((name) => `running ${name}`)
        return [...(await names('--all')), ...running, ...filesBelow(session.folder)].sort()
      },
      createForeign: (resource) => defineForeign(session, resource.name),
      disk: {
        write: (resource, text) => writeDisk(session, resource.handle?.disk ?? '', text),
        read: (resource) => readDisk(session, resource.handle?.disk ?? ''),
      },
      cleanup: async () => session.dispose(),
    }
  },
})
