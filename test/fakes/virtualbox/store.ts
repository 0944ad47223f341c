import { randomBytes, randomUUID } from 'node:crypto'
import { existsSync, linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { errnoOf } from '../../../src/core/file-failure.js'
import {
  allSnapshots,
  attachedMedia,
  type Machine,
  type Medium,
  type Registry,
  type Session,
} from './model.js'
import { removeBusyFolder } from './remove-folder.js'
import { readSettings, settingsText } from './settings-file.js'

/** The longest wait for another call, which may start a machine on a busy host. */
const lockMs = 150_000

/** The files of the stand-in: a registry, a settings file for each machine, and the running machines. */
export class Store {
  readonly home: string
  registry: Registry

  constructor(home: string) {
    this.home = home
    mkdirSync(home, { recursive: true })
    this.registry = this.#read<Registry>(this.#registryFile) ?? {
      machines: [],
      media: [],
      extraData: {},
      interfaces: [],
      natNetworks: [],
    }
  }

  get #registryFile(): string {
    return join(this.home, 'VirtualBox.json')
  }

  #read<Content>(file: string): Content | undefined {
    if (!existsSync(file)) return undefined
    const content: Content = JSON.parse(readFileSync(file, 'utf8'))
    return content
  }

  saveRegistry(): void {
    writeWhole(this.#registryFile, this.registry)
  }

  /** Reads a machine by its name or UUID; `inaccessible` if its settings file is lost. */
  find(nameOrUuid: string): Machine | 'inaccessible' | undefined {
    const uuid = nameOrUuid.toLowerCase().replace(/^\{(.*)\}$/, '$1')
    const entry = this.registry.machines.find((each) => each.uuid === uuid)
    if (entry !== undefined) return this.readMachine(entry.cfgFile) ?? 'inaccessible'
    return this.machines().find((each) => each.name === nameOrUuid)
  }

  machines(): Machine[] {
    return this.registry.machines.flatMap(({ cfgFile }) => this.readMachine(cfgFile) ?? [])
  }

  /** Reads a machine's settings, and updates the paths of its files if its folder was moved. */
  readMachine(cfgFile: string): Machine | undefined {
    const machine = existsSync(cfgFile) ? readSettings(readFileSync(cfgFile, 'utf8')) : undefined
    if (machine === undefined || machine.cfgFile === cfgFile) return machine
    const [before, after] = [`${dirname(machine.cfgFile)}/`, `${dirname(cfgFile)}/`]
    const moved = (path: string): string =>
      path.startsWith(before) ? after + path.slice(before.length) : path
    for (const medium of machine.media) medium.path = moved(medium.path)
    for (const keeper of [machine, ...allSnapshots(machine.rootSnapshot)]) {
      if (keeper.stateFile !== undefined) keeper.stateFile = moved(keeper.stateFile)
    }
    machine.cfgFile = cfgFile
    return machine
  }

  saveMachine(machine: Machine): void {
    machine.media = this.registry.media.filter(({ uuid }) =>
      usedMedia(machine, this.registry.media).has(uuid),
    )
    mkdirSync(dirname(machine.cfgFile), { recursive: true, mode: 0o700 })
    writeFile(machine.cfgFile, settingsText(machine))
  }

  /** Returns the folder of a machine's files while the machine is online. */
  sessionFolder(uuid: string): string {
    return join(this.home, 'run', uuid)
  }

  session(uuid: string): Session | undefined {
    return this.#read<Session>(join(this.sessionFolder(uuid), 'session.json'))
  }

  saveSession(uuid: string, session: Session): void {
    mkdirSync(this.sessionFolder(uuid), { recursive: true })
    writeWhole(join(this.sessionFolder(uuid), 'session.json'), session)
  }

  endSession(uuid: string, lingerMs = 0): void {
    // The process that supervises QEMU may still write its last file.
    removeBusyFolder(this.sessionFolder(uuid))
    if (lingerMs > 0) writeWhole(join(this.home, `${uuid}.lingers`), Date.now() + lingerMs)
  }

  /** Tells whether a machine that ended is still locked. */
  lingers(uuid: string): boolean {
    return (this.#read<number>(join(this.home, `${uuid}.lingers`)) ?? 0) > Date.now()
  }

  /** Moves a folder, and the media in it. */
  move(before: string, after: string): void {
    renameSync(before, after)
    for (const medium of this.registry.media) {
      if (medium.path.startsWith(`${before}/`)) medium.path = after + medium.path.slice(before.length)
    }
  }

  medium(pathOrUuid: string, device?: Medium['device']): Medium | undefined {
    const uuid = pathOrUuid.toLowerCase().replace(/^\{(.*)\}$/, '$1')
    return this.registry.media.find(
      (each) =>
        (each.uuid === uuid || each.path === pathOrUuid) && (device === undefined || each.device === device),
    )
  }

  /** Lists the machines with the medium in a current slot, or in a slot of a snapshot. */
  usersOf(medium: Medium): Machine[] {
    return this.machines().filter((machine) => slotMedia(machine).includes(medium.uuid))
  }

  childrenOf(medium: Medium): Medium[] {
    return this.registry.media.filter(({ parent }) => parent === medium.uuid)
  }
}

/** Lists the media in the slots of a machine and of its snapshots. */
export function slotMedia(machine: Machine): string[] {
  const snapshots = allSnapshots(machine.rootSnapshot).map(({ hardware }) => hardware)
  return [machine.hardware, ...snapshots].flatMap(attachedMedia)
}

/** Lists the media of a machine with their parents. */
export function usedMedia(machine: Machine, media: readonly Medium[]): Set<string> {
  const used = new Set<string>()
  const add = (uuid: string | undefined): void => {
    if (uuid === undefined || used.has(uuid)) return
    used.add(uuid)
    add(media.find((each) => each.uuid === uuid)?.parent)
  }
  for (const uuid of slotMedia(machine)) add(uuid)
  return used
}

/** Holds the lock of a home while `action` runs. Concurrent calls thus do not overwrite each other's changes. */
export async function locked<Result>(home: string, action: () => Promise<Result>): Promise<Result> {
  const lock = join(home, 'lock')
  const end = Date.now() + lockMs
  mkdirSync(home, { recursive: true })
  while (!take(lock)) {
    const holder = holderOf(lock)
    if (holder !== undefined && !alive(holder)) retire(lock, holder)
    if (Date.now() > end) throw new Error(`${lock} is held by process ${holder}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  try {
    return await action()
  } finally {
    rmSync(lock, { force: true })
  }
}

/** Creates a lock atomically, so that every lock names its holder; returns false if a lock exists. */
function take(lock: string): boolean {
  const draft = `${lock}.${randomUUID()}`
  writeFileSync(draft, String(process.pid))
  try {
    linkSync(draft, lock)
    return true
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error
    return false
  } finally {
    rmSync(draft, { force: true })
  }
}

/** Returns the process ID in a lock; undefined if the lock was released meanwhile. */
function holderOf(lock: string): number | undefined {
  try {
    return Number(readFileSync(lock, 'utf8'))
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error
    return undefined
  }
}

/**
 * Removes the lock of a dead process. A second lock lets only one call do this, so that the next holder keeps its lock.
 */
function retire(lock: string, dead: number): void {
  const guard = `${lock}.dead-${dead}`
  if (!take(guard)) return
  try {
    if (holderOf(lock) === dead) rmSync(lock, { force: true })
  } finally {
    rmSync(guard, { force: true })
  }
}

export function alive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

export function writeWhole(file: string, content: unknown): void {
  writeFile(file, `${JSON.stringify(content, undefined, 1)}\n`)
}

function writeFile(file: string, text: string): void {
  const draft = `${file}.${process.pid}.tmp`
  writeFileSync(draft, text, { mode: 0o600 })
  renameSync(draft, file)
}

export function freshMac(): string {
  return `080027${randomBytes(3).toString('hex').toUpperCase()}`
}

export function freshUuid(): string {
  return randomUUID()
}
