import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { LibvirtConfig } from '../../../providers/libvirt/config.js'
import { createLibvirtProvider } from '../../../providers/libvirt/index.js'
import type { LibvirtResource } from '../../../providers/libvirt/places.js'
import type { BaseImage } from '../../../src/core/image.js'
import { DeploymentUuid, MachineName, resourceName } from '../../../src/core/names.js'
import type { Run } from '../../../src/core/run.js'
import { localCommands } from '../../../src/exec/local-commands.js'

export const sessionUri = 'qemu:///session'

/** A real libvirt session of the tester, with cheap resources. */
export interface Session {
  readonly folder: string
  /** The folders of the deployments, laid out as in a state folder. */
  readonly deployments: string
  readonly image: BaseImage
  readonly run: Run
  readonly logged: string[]
  readonly provider: ReturnType<typeof createLibvirtProvider>
  /** Makes an allocated machine of a new deployment, with nothing created yet. */
  makeResource(config?: object, overrides?: Partial<LibvirtResource>): Promise<LibvirtResource>
  virsh(...args: string[]): Promise<string>
  program(argv: readonly string[]): Promise<string>
  dispose(): void
}

let made = 0

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

  const makeResource: Session['makeResource'] = async (config = {}, overrides = {}) => {
    made += 1
    const uuid = overrides.deployment?.uuid ?? DeploymentUuid.parse(crypto.randomUUID())
    const machine = overrides.machine ?? MachineName.parse(`web${made}`)
    const root = join(deployments, uuid)
    const keys = join(root, 'keys', machine)
    mkdirSync(keys, { recursive: true })
    const keyFile = join(keys, 'ssh_host_ed25519_key')
    await program(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-C', 'test', '-f', keyFile])
    const publicKey = (await program(['ssh-keygen', '-y', '-f', keyFile]))
      .split(' ')
      .slice(0, 2)
      .join(' ')
      .trim()
    const parsed = LibvirtConfig.parse({ baseImage: image.reference, memorySize: 64, ...config })
    const index = overrides.index ?? 1
    return {
      deployment: { uuid, name: 'session' },
      machine,
      name: resourceName(uuid, machine),
      index,
      config: parsed,
      allocation: await provider.allocate({
        deployment: uuid,
        machine,
        index,
        config: parsed,
        known: undefined,
        takenPorts: new Set(),
        siblings: new Map(),
      }),
      handle: undefined,
      identity: {
        hostName: machine,
        hostKeyFile: keyFile,
        hostKeyPublic: publicKey,
        // One key suffices for everything, because only tests see these machines.
        authorizedKey: publicKey,
        identityFile: keyFile,
      },
      image,
      disks: join(root, 'disks', machine),
      console: join(root, 'console', `${machine}.log`),
      target: noTarget,
      hostKey: publicKey,
      ...overrides,
    }
  }

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

const noTarget = {
  host: undefined,
  port: undefined,
  user: undefined,
  hostKey: undefined,
  sshOptions: [],
  privilegeEscalation: [],
}

/** Makes an image that nothing boots from: the firmware reports that and waits. */
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
