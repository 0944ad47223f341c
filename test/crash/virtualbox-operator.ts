import { join } from 'node:path'
import { z } from 'zod'
import { VirtualBoxConfig } from '../../providers/virtualbox/config.js'
import { createVirtualBoxProvider } from '../../providers/virtualbox/index.js'
import { bindProvider } from '../../src/core/bind-provider.js'
import { localCommands } from '../../src/exec/local-commands.js'
import type { FakeOps } from '../fakes/fake-ops.js'
import { inProcess } from '../fakes/virtualbox/in-process.js'
import { imageStoreOf, openMachineOperator, type Verb, type Watching } from './machine-operator.js'

/** Folders, port and stand-in for VirtualBox of one deployment. */
export const Place = z.object({
  /** The folder with the state and the files of the stand-ins. */
  folder: z.string(),
  /** The folder with the base images `small.qcow2` and `other.qcow2`. */
  images: z.string(),
  standIn: z.object({ program: z.string(), home: z.string() }),
  /** The folder with the recorded answers of VBoxManage. */
  recorded: z.string(),
  /** A port of 127.0.0.1 that the verb `change` forwards. */
  port: z.number(),
})
export type Place = z.infer<typeof Place>

/**
 * Returns commands that imitate VBoxManage inside this process. Crash points use separate processes, which outlive this
 * process.
 */
export function quickCommands({ standIn, recorded }: Place) {
  return inProcess(standIn, () => ['pretend'], recorded)
}

/**
 * Opens an operator with the real engine, store and VirtualBox provider. Stand-ins replace VirtualBox, Nix, ssh and
 * Debian.
 */
export async function openOperator(place: Place, verb: Verb, watching: Watching = {}): Promise<FakeOps> {
  const local = watching.local ?? { ...localCommands, run: quickCommands(place).run }
  const provider = bindProvider(createVirtualBoxProvider({ local, program: place.standIn.program }))
  const options = VirtualBoxConfig.parse(optionsFor(place, verb))
  const images = imageStoreOf((reference) => ({
    id: `${reference}-1`,
    reference,
    disk: join(place.images, `${reference}.qcow2`),
    format: 'qcow2',
    virtualBytes: 16 * 1024 ** 2,
    identity: 'nocloud',
  }))
  return openMachineOperator(place.folder, { provider, targetEnv: 'virtualbox', options, images }, watching)
}

function optionsFor({ port, folder }: Place, verb: Verb): object {
  const options = {
    baseImage: verb === 'recreate' ? 'other' : 'small',
    baseImageSize: 1,
    memorySize: 64,
    disks: { data: { port: 1, size: 1024 } },
    sharedFolders: { share: { hostPath: folder } },
  }
  if (verb !== 'change') return options
  return {
    ...options,
    memorySize: 128,
    disks: { data: { port: 1, size: 2048 }, more: { port: 2, size: 16 } },
    natForwards: [{ host: port, guest: 80 }],
  }
}
