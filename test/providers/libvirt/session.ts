import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { LibvirtConfig } from '../../../providers/libvirt/config.js'
import { createLibvirtProvider } from '../../../providers/libvirt/index.js'
import type { LibvirtResource } from '../../../providers/libvirt/places.js'
import type { BaseImage } from '../../../src/core/image.js'
import type { Run } from '../../../src/core/run.js'
import { localCommands } from '../../../src/exec/local-commands.js'
import { sessionMachine } from '../session-machine.js'

export const sessionUri = 'qemu:///session'

/** A real libvirt session of the user who runs the tests, with small machines. */
export interface Session {
  readonly folder: string
  /** The folders of the deployments, laid out as in a state folder. */
  readonly deployments: string
  readonly image: BaseImage
  readonly run: Run
  readonly logged: string[]
  readonly provider: ReturnType<typeof createLibvirtProvider>
  /** Allocates a machine of a new deployment, and creates nothing else. */
  makeResource(config?: object, overrides?: Partial<LibvirtResource>): Promise<LibvirtResource>
  virsh(...args: string[]): Promise<string>
  program(argv: readonly string[]): Promise<string>
  dispose(): void
}

export async function openSession(options: { image?: BaseImage } = {}): Promise<Session> {
  const folder = mkdtempSync(join(tmpdir(), 'hydra-ops-libvirt-'))
  const state = join(folder, 'state')
  const deployments = join(state, 'deployments')
  const logged: string[] = []
  const run: Run = { signal: new AbortController().signal, log: (line) => logged.push(line) }
  const program = async (argv: readonly string[]): Promise<string> => {
    const what = argv.join(' ')
    const result = await localCommands.run(argv, { signal: run.signal, timeoutMs: 120_000, what })
    if (result.kind !== 'exited' || result.code !== 0) throw new Error(`${what}: ${result.stderr}`)
    return result.stdout
  }
  mkdirSync(deployments, { recursive: true })
  const image = options.image ?? (await emptyImage(join(state, 'images', 'empty-1'), program))
  const provider = createLibvirtProvider({ local: localCommands })

  const makeResource: Session['makeResource'] = (config = {}, overrides = {}) =>
    sessionMachine(
      { deployments, image, provider, program },
      LibvirtConfig.parse({ baseImage: image.reference, memorySize: 64, ...config }),
      overrides,
    )

  return {
    folder,
    deployments,
    image,
    run,
    logged,
    provider,
    makeResource,
    program,
    virsh: (...args) => program(['virsh', '-q', '-c', sessionUri, ...args]),
    dispose: () => rmSync(folder, { recursive: true, force: true }),
  }
}

/** Creates an image from which nothing boots: the firmware finds nothing to boot, and waits. */
async function emptyImage(
  folder: string,
  program: (argv: readonly string[]) => Promise<string>,
): Promise<BaseImage> {
  mkdirSync(folder, { recursive: true })
  const disk = join(folder, 'empty.qcow2')
  await program(['qemu-img', 'create', '-q', '-f', 'qcow2', disk, '16M'])
  return {
    id: 'empty-1',
    reference: 'empty',
    disk,
    format: 'qcow2',
    virtualBytes: 16 * 1024 ** 2,
    identity: 'fwcfg',
  }
}

/** Defines a foreign domain under this name. */
export async function defineForeign(
  session: Session,
  name: string,
): Promise<{ isUntouched(): Promise<boolean> }> {
  const file = join(session.folder, 'foreign.xml')
  writeFileSync(
    file,
    `<domain type='qemu'><name>${name}</name><memory unit='MiB'>32</memory><os><type arch='x86_64' machine='q35'>hvm</type></os></domain>`,
  )
  await session.virsh('define', file)
  const before = await session.virsh('dumpxml', name)
  return {
    isUntouched: async () => {
      const same = (await session.virsh('dumpxml', name)) === before
      await session.virsh('undefine', name)
      return same
    },
  }
}
