import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { VirtualBoxConfig } from '../../providers/virtualbox/config.js'
import { readDisk, writeDisk } from '../providers/virtualbox/disk-content.js'
import { createForeign, type Session } from '../providers/virtualbox/session.js'
import { providerContract } from './provider-contract.js'

/** Lists the files of machines, without the keys that the test creates for the machines. */
function filesBelow(folder: string): string[] {
  if (!existsSync(folder)) return []
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => /\/(?:disks|console)\//.test(path))
}

/** Runs the provider contract with the VBoxManage of a session and the same options for each machine. */
export function virtualBoxContract(
  name: string,
  options: object,
  open: () => Promise<{ session: Session; dispose(): Promise<void> }>,
): void {
  providerContract(name, {
    makesMachines: true,
    keepsSnapshots: true,
    open: async () => {
      const { session, dispose } = await open()
      const changed = {
        baseImage: session.image.reference,
        memorySize: 128,
        vcpu: 2,
        lan: false,
        disks: { data: { port: 2, size: 64 } },
        sharedFolders: { share: { hostPath: session.folder, readOnly: false } },
        ...options,
      }
      return {
        provider: session.provider,
        run: session.run,
        configExamples: [
          {},
          { vcpu: 2, memorySize: 4096, headless: true, vmFlags: ['--nested-hw-virt', 'on'] },
          {
            disks: { disk1: { port: 0, size: 0 }, data: { port: 1, size: 1024 } },
            sharedFolders: { share: { hostPath: '/srv', readOnly: true } },
          },
          {
            hostOnly: { adapter: 'vboxnet0', address: '192.168.56.10/24' },
            natForwards: [{ host: 8080, guest: 80 }],
            extraFlags: { 'vm-execution-engine': 'recompiler' },
            linkedClone: true,
            firmware: 'efi',
          },
        ],
        makeResource: (overrides) => session.makeResource(options, overrides),
        changedConfig: VirtualBoxConfig.parse({ ...changed, baseImageSize: 2 }),
        // A disk with snapshots cannot grow.
        changedWithSnapshots: VirtualBoxConfig.parse({ ...changed, baseImageSize: 1 }),
        disk: {
          write: (resource, text) => writeDisk(session, resource, text),
          read: (resource) => readDisk(session, resource),
        },
        listing: async () => [...(await session.registry()), ...filesBelow(session.state)].sort(),
        createForeign: (resource) => createForeign(session, resource.name),
        cleanup: dispose,
      }
    },
  })
}
