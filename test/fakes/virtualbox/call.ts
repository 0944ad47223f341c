import { resolve } from 'node:path'
import { type Place, refusal } from './answer.js'
import type { Engine } from './engine.js'
import type { Machine, MachineState } from './model.js'
import type { Arguments } from './options.js'
import type { Store } from './store.js'
import type { Recorded } from './usage.js'

/** The behaviour of the host and its VirtualBox, which a test chooses. */
export interface Settings {
  /** Whether the host has the kernel driver; if not, each call warns and no machine starts. */
  readonly driver: boolean
  /** Milliseconds before each answer. */
  readonly slowMs: number
  /** Milliseconds for which a machine stays locked after its end. */
  readonly lingerMs: number
  /** Whether messages are translated. */
  readonly translated: boolean
  /** The file that lists the allowed host-only ranges. */
  readonly networksConf: string
  /** Whether VirtualBox's service was restarted, after which `localhostReachable` always reads 1. */
  readonly serviceRestarted: boolean
}

/** One call of the stand-in. */
export interface Call {
  readonly verb: string
  readonly words: Arguments
  readonly store: Store
  readonly recorded: Recorded
  readonly settings: Settings
  readonly engine: Engine
  /** The user's home and the working folder. */
  readonly userHome: string
  readonly folder: string
}

const notFound = { code: 'VBOX_E_OBJECT_NOT_FOUND', component: 'VirtualBoxWrap' } as const
const limited = { code: 'E_ACCESSDENIED', component: 'MachineWrap' } as const

const uuidText = /^\{?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\}?$/i

export function absolute(call: Call, path: string): string {
  return resolve(call.folder, path)
}

/** Finds a machine, or refuses as VirtualBox's `FindMachine` does at this place in the source. */
export async function findMachine(call: Call, nameOrUuid: string, place: Place): Promise<Machine> {
  const machine = call.store.find(nameOrUuid)
  if (machine === undefined) {
    const asked = uuidText.test(nameOrUuid)
      ? `with UUID {${nameOrUuid.replace(/[{}]/g, '').toLowerCase()}}`
      : `named '${nameOrUuid}'`
    throw refusal(`Could not find a registered machine ${asked}`, notFound, place)
  }
  if (machine === 'inaccessible') {
    const lockPlace: Place = ['LockMachine(a->session, LockType_Shared)', 3328, 'VBoxManageInfo.cpp']
    throw refusal('The object functionality is limited', limited, lockPlace)
  }
  await settle(call, machine)
  return machine
}

/** Records the end of a machine's process: a normal exit is `poweroff`, any other end is `aborted`. */
export async function settle(call: Call, machine: Machine): Promise<void> {
  const session = call.store.session(machine.uuid)
  if (session === undefined) return
  const folder = call.store.sessionFolder(machine.uuid)
  // This call holds the lock that a starting call needs, so the starting call was killed.
  if (session.launching) await call.engine.quit(folder)
  const end = session.launching ? 'aborted' : call.engine.end(folder)
  if (end === undefined) return
  machine.state = end
  machine.stateChange = Date.now()
  dropTransient(machine, session.resumed)
  call.store.saveMachine(machine)
  call.store.endSession(machine.uuid)
}

/** Removes the properties that last only for one run. VirtualBox keeps the properties of a resumed run, as measured. */
export function dropTransient(machine: Machine, resumed: boolean): void {
  if (resumed) return
  const { properties } = machine.hardware
  for (const [name, { flags }] of Object.entries(properties)) {
    if (flags.includes('TRANSIENT')) delete properties[name]
  }
}

/** Returns the state of a machine, online or not. */
export function stateOf(call: Call, machine: Machine): MachineState {
  return call.store.session(machine.uuid)?.state ?? machine.state
}

const stateNames: Readonly<Record<MachineState, string>> = {
  poweroff: 'PoweredOff',
  saved: 'Saved',
  aborted: 'Aborted',
  'aborted-saved': 'AbortedSaved',
  running: 'Running',
  paused: 'Paused',
  starting: 'Starting',
  stopping: 'Stopping',
  gurumeditation: 'GuruMeditation',
}

/** Returns the name of a state in error messages. */
export function stateName(state: MachineState): string {
  return stateNames[state]
}

/** Tells whether a session holds the machine's lock: while the machine is online, and a little longer. */
export function isLocked(call: Call, machine: Machine): boolean {
  return call.store.session(machine.uuid) !== undefined || call.store.lingers(machine.uuid)
}

/** Refuses to lock a machine that another session has locked, as VirtualBox's `LockMachine` does. */
export function lockForWrite(call: Call, machine: Machine, line: number, file: string): void {
  if (!isLocked(call, machine)) return
  throw refusal(
    `The machine '${machine.name}' is already locked for a session (or being unlocked)`,
    { code: 'VBOX_E_INVALID_OBJECT_STATE', component: 'MachineWrap' },
    ['LockMachine(a->session, LockType_Write)', line, file],
  )
}

/** Refuses a change unless the machine is off, or is running and `orRunning` is set. */
export function mutable(call: Call, machine: Machine, place: Place, orRunning = false): void {
  const state = stateOf(call, machine)
  if (state === 'poweroff' || state === 'aborted' || (orRunning && state === 'running')) return
  throw refusal(
    `The machine is not mutable${orRunning ? ' or running' : ''} (state is ${stateName(state)})`,
    { code: 'VBOX_E_INVALID_VM_STATE', component: 'SessionMachine' },
    place,
  )
}
