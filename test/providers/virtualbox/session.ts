import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { VirtualBoxConfig } from '../../../providers/virtualbox/config.js'
import { createVirtualBoxProvider } from '../../../providers/virtualbox/index.js'
import { parseList } from '../../../providers/virtualbox/look.js'
import { parseMedia } from '../../../providers/virtualbox/media.js'
import type { VirtualBoxResource } from '../../../providers/virtualbox/places.js'
import type { LocalCommands } from '../../../src/core/context.js'
import type { BaseImage } from '../../../src/core/image.js'
import type { Run } from '../../../src/core/run.js'
import type { CommandResult } from '../../../src/core/ssh.js'
import { inProcess } from '../../fakes/virtualbox/in-process.js'
import { behave, endAll, installVBoxManage, type StandIn } from '../../fakes/virtualbox/install.js'
import { sessionMachine } from '../session-machine.js'

/** The folder of the recorded answers, from which the stand-in takes its longest texts. */
const recorded = join(import.meta.dirname, '..', '..', 'fixtures', 'virtualbox')

/** A separate, empty VirtualBox, and resources that cost almost nothing. */
export interface Session {
  readonly folder: string
  /** The state folder, in which machines have their files as in a real one. */
  readonly state: string
  readonly image: BaseImage
  readonly run: Run
  readonly logged: string[]
  /** The commands of this host, with the stand-in as VBoxManage. */
  readonly local: Pick<LocalCommands, 'run'>
  readonly standIn: StandIn
  readonly provider: ReturnType<typeof createVirtualBoxProvider>
  /** Creates the provider with other parts. */
  providerWith(parts: { local?: Pick<LocalCommands, 'run'>; hostRoot?: string }): Session['provider']
  /** Allocates a machine of a new deployment, and creates nothing else. */
  makeResource(config?: object, overrides?: Partial<VirtualBoxResource>): Promise<VirtualBoxResource>
  /** Runs VBoxManage; throws if the command fails. */
  vbox(...args: string[]): Promise<string>
  ask(...args: string[]): Promise<CommandResult>
  behave(...words: string[]): void
  /** Lists the names of all machines and the paths of all disks that this VirtualBox has registered. */
  registry(): Promise<string[]>
  dispose(): void
}

export interface SessionChoices {
  /** A VBoxManage other than the stand-in, with a folder that it sees under the same path. */
  readonly other?: { readonly folder: string; readonly program: string }
  readonly behaviour?: readonly string[]
  readonly networks?: string
}

export async function openSession(choices: SessionChoices = {}): Promise<Session> {
  const { other } = choices
  const folder = mkdtempSync(join(other?.folder ?? tmpdir(), 'hydra-ops-virtualbox-'))
  const behaviour = choices.behaviour ?? ['pretend']
  const standIn = installVBoxManage(folder, { ...choices, behaviour })
  const vboxManage = other?.program ?? standIn.program
  const state = join(folder, 'state')
  const logged: string[] = []
  const run: Run = { signal: new AbortController().signal, log: (line) => logged.push(line) }
  let words = behaviour
  const local = inProcess(standIn, () => words, recorded)
  const call = (argv: readonly string[]) =>
    local.run(argv, { signal: run.signal, timeoutMs: 120_000, what: argv.join(' ') })
  const program = async (argv: readonly string[]): Promise<string> => {
    const result = await call(argv)
    if (result.kind !== 'exited' || result.code !== 0) throw new Error(`${argv.join(' ')}: ${result.stderr}`)
    return result.stdout
  }
  const hostRoot = join(folder, 'host')
  mkdirSync(hostRoot)
  const image = await smallImage(join(state, 'images', 'small-1'), program)
  const providerWith: Session['providerWith'] = (parts) =>
    createVirtualBoxProvider({
      local,
      program: vboxManage,
      hostRoot,
      uid: 1000,
      ...parts,
    })
  const provider = providerWith({})
  const vbox = (...args: string[]) => program([vboxManage, ...args])

  const makeResource: Session['makeResource'] = (config = {}, overrides = {}) =>
    sessionMachine(
      { deployments: join(state, 'deployments'), image, provider, program },
      VirtualBoxConfig.parse({ baseImage: image.reference, memorySize: 64, baseImageSize: 1, ...config }),
      overrides,
    )

  return {
    folder,
    state,
    image,
    run,
    logged,
    local,
    standIn,
    provider,
    providerWith,
    makeResource,
    vbox,
    ask: (...args) => call([vboxManage, ...args]),
    behave: (...next) => {
      words = next
      behave(standIn, next)
    },
    registry: () => readRegistry(vbox),
    dispose: () => {
      endAll(standIn)
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** Lists the names of all machines and the paths of all disks that a VirtualBox has registered. */
export async function readRegistry(vbox: (...args: string[]) => Promise<string>): Promise<string[]> {
  const machines = parseList(await vbox('list', 'vms')).map(({ name, uuid }) => `${name} ${uuid}`)
  const running = parseList(await vbox('list', 'runningvms')).map(({ name }) => `running ${name}`)
  const disks = parseMedia(await vbox('list', 'hdds')).map(({ location }) => location)
  return [...machines, ...running, ...disks].sort()
}

async function smallImage(
  folder: string,
  program: (argv: readonly string[]) => Promise<string>,
): Promise<BaseImage> {
  mkdirSync(folder, { recursive: true })
  const disk = join(folder, 'small.qcow2')
  await program(['qemu-img', 'create', '-q', '-f', 'qcow2', disk, '16M'])
  return {
    id: 'small-1',
    reference: 'small',
    disk,
    format: 'qcow2',
    virtualBytes: 16 * 1024 ** 2,
    identity: 'nocloud',
  }
}

/** Creates a foreign machine with this name. */
export async function createForeign(
  session: Session,
  name: string,
): Promise<{ isUntouched(): Promise<boolean> }> {
  const folder = join(session.folder, 'foreign')
  await session.vbox(
    'createvm',
    '--name',
    name,
    '--ostype',
    'Linux26_64',
    '--register',
    '--basefolder',
    folder,
  )
  const before = await settingsOf(session, name)
  return {
    isUntouched: async () => {
      const same = (await settingsOf(session, name)) === before
      await session.vbox('unregistervm', name, '--delete')
      return same
    },
  }
}

/**
 * Returns the settings of a machine without two lines that may differ. VBoxSVC ends when it has no work, and starts
 * again; on a busy host, this may happen between any two calls. A new VBoxSVC shows a time without its fraction, and a
 * default that it saves nowhere.
 */
export async function settingsOf(session: Session, machine: string): Promise<string> {
  const said = await session.vbox('showvminfo', machine, '--machinereadable')
  return said.replace(/^(?:VMStateChangeTime|localhostReachable)=.*\n/gm, '')
}
