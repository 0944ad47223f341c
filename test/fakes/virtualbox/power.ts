import { appendFileSync, existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import {
  type Answer,
  answer,
  errorLine,
  type Place,
  progress,
  Refusal,
  refusal,
  told,
  unknown,
} from './answer.js'
import { type Call, dropTransient, findMachine, isLocked, lockForWrite, stateName, stateOf } from './call.js'
import type { Launch } from './engine.js'
import { allSnapshots, attachedMedia, type Machine, type Rule, type Session } from './model.js'
import { addRule, parseRule, removeRule } from './nat.js'

const misc = 'VBoxManageMisc.cpp'
const control = 'VBoxManageControlVM.cpp'
const launchPlace: Place = [
  'LaunchVMProcess(a->session, sessionType.raw(), ComSafeArrayAsInParam(aBstrEnv), progress.asOutParam())',
  920,
  misc,
]

/** Implements `startvm MACHINE --type headless`. */
export async function startMachine(call: Call): Promise<Answer> {
  let name: string | undefined
  let type = 'gui'
  for (let word = call.words.next(); word !== undefined; word = call.words.next()) {
    if (word === '--type') type = call.words.value() ?? ''
    else if (word.startsWith('-') || name !== undefined) throw unknown(`startvm ${word}`)
    else name = word
  }
  if (name === undefined) throw unknown('startvm without a machine')
  const machine = await findMachine(call, name, [
    'FindMachine(Bstr(pszVM).raw(), machine.asOutParam())',
    907,
    misc,
  ])
  if (isLocked(call, machine)) {
    throw refusal(
      `The machine '${machine.name}' is already locked by a session (or being locked or unlocked)`,
      { code: 'VBOX_E_INVALID_OBJECT_STATE', component: 'MachineWrap' },
      launchPlace,
    )
  }
  if (!['headless', 'gui', 'sdl', 'separate'].includes(type)) {
    const details = { code: 'NS_ERROR_INVALID_ARG', component: 'MachineWrap' } as const
    throw refusal(`Invalid frontend name: '${type}'`, details, launchPlace)
  }
  if (type !== 'headless') {
    throw refusal(
      `Could not launch the VM process for the machine '${machine.name}' (VERR_FILE_NOT_FOUND)`,
      { code: 'VBOX_E_IPRT_ERROR', component: 'MachineWrap' },
      launchPlace,
    )
  }
  const waiting = `Waiting for VM "${name}" to power on...\n`
  try {
    await launch(call, machine)
  } catch (error) {
    if (error instanceof Refusal && error.exit !== 70) throw new Refusal(error.stderr, 1, waiting)
    throw error
  }
  return answer(`${waiting}VM "${name}" has been successfully started.\n`)
}

async function launch(call: Call, machine: Machine): Promise<void> {
  if (!call.settings.driver) {
    throw refusal(
      `The virtual machine '${machine.name}' has terminated unexpectedly during startup with exit code 1 (0x1)`,
      { code: 'NS_ERROR_FAILURE', component: 'MachineWrap', called: false },
    )
  }
  requireDisks(call, machine)
  requireNetworks(call, machine)
  const { store } = call
  const folder = store.sessionFolder(machine.uuid)
  const media = new Map(store.registry.media.map((medium) => [medium.uuid, medium]))
  const resumed = machine.stateFile !== undefined
  const session: Session = { state: 'starting', stateChange: Date.now(), resumed, launching: true }
  store.saveSession(machine.uuid, session)
  const refused = await launchOrEnd(call, { machine, media, folder, stateFile: machine.stateFile })
  writeLog(machine, true, refused.map(conflict))
  dropStateFile(machine)
  if (!resumed) startProperties(machine)
  machine.state = 'poweroff'
  store.saveMachine(machine)
  store.saveSession(machine.uuid, { ...session, state: 'running', stateChange: Date.now(), launching: false })
}

async function launchOrEnd(call: Call, launch: Launch): Promise<readonly Rule[]> {
  try {
    return await call.engine.launch(launch)
  } catch (error) {
    await call.engine.quit(launch.folder)
    call.store.endSession(launch.machine.uuid)
    throw error
  }
}

function requireDisks(call: Call, machine: Machine): void {
  for (const uuid of attachedMedia(machine.hardware)) {
    const path = call.store.medium(uuid)?.path
    if (path === undefined) throw unknown(`a machine whose medium ${uuid} is not registered`)
    if (existsSync(path)) continue
    throw new Refusal(
      errorLine(`Could not open the medium '${path}'.`) +
        told(`VD: error VERR_FILE_NOT_FOUND opening image file '${path}' (VERR_FILE_NOT_FOUND)`, {
          code: 'NS_ERROR_FAILURE',
          component: 'MediumWrap',
          called: false,
        }),
    )
  }
}

function requireNetworks(call: Call, machine: Machine): void {
  for (const { attachment, hostOnlyAdapter } of machine.hardware.nics) {
    if (attachment !== 'hostonly') continue
    if (call.store.registry.interfaces.some(({ name }) => name === hostOnlyAdapter)) continue
    machine.stateChange = Date.now()
    call.store.saveMachine(machine)
    throw refusal(`Nonexistent host networking interface, name '${hostOnlyAdapter}' (VERR_INTERNAL_ERROR)`, {
      code: 'NS_ERROR_FAILURE',
      component: 'ConsoleWrap',
      called: false,
    })
  }
}

const inLog = 'Probably a conflict with existing services or other rules'

function conflict({ hostPort, guestPort }: Rule): string {
  return `NAT#0: configuration error: failed to set up redirection of ${hostPort} to ${guestPort}. ${inLog}`
}

/** Writes the log of a run; the log of the previous run is kept beside it. */
function writeLog(machine: Machine, fresh: boolean, lines: readonly string[]): void {
  const file = join(dirname(machine.cfgFile), 'Logs', 'VBox.log')
  mkdirSync(dirname(file), { recursive: true })
  if (fresh && existsSync(file)) renameSync(file, `${file}.1`)
  const all = [...(fresh ? ['VirtualBox VM 7.2.22_Debian r175245 linux.amd64 log opened'] : []), ...lines]
  appendFileSync(file, all.map((line) => `00:00:00.500000 ${line}\n`).join(''))
}

/** Removes the saved memory if no snapshot needs it. */
function dropStateFile(machine: Machine): void {
  const { stateFile } = machine
  machine.stateFile = undefined
  if (stateFile === undefined) return
  const kept = allSnapshots(machine.rootSnapshot).some((snapshot) => snapshot.stateFile === stateFile)
  if (!kept) rmSync(stateFile, { force: true })
}

/** Removes the properties of the previous run, and sets the properties that the host gives this run. */
function startProperties(machine: Machine): void {
  dropTransient(machine, false)
  const host = {
    '/VirtualBox/HostGuest/SysprepArgs': '',
    '/VirtualBox/HostGuest/SysprepExec': '',
    '/VirtualBox/HostInfo/VBoxRev': '175245',
    '/VirtualBox/HostInfo/VBoxVer': '7.2.22',
    '/VirtualBox/HostInfo/VBoxVerExt': '7.2.22_Debian',
    '/VirtualBox/VMInfo/ResetCounter': '0',
    '/VirtualBox/VMInfo/ResumeCounter': '1',
  }
  for (const [name, value] of Object.entries(host)) {
    machine.hardware.properties[name] = { value, time: Date.now(), flags: 'TRANSIENT, RDONLYGUEST' }
  }
}

/** Implements `controlvm MACHINE VERB`. The real program checks that the machine runs before it reads the verb. */
export async function controlMachine(call: Call): Promise<Answer> {
  const name = call.words.next()
  const verb = call.words.next()
  if (name === undefined || verb === undefined) throw unknown('controlvm without a machine or a verb')
  const machine = await findMachine(call, name, [
    'FindMachine(Bstr(a->argv[0]).raw(), machine.asOutParam())',
    363,
    control,
  ])
  const session = call.store.session(machine.uuid)
  if (session === undefined) throw new Refusal(errorLine(`Machine '${name}' is not currently running.`))
  const folder = call.store.sessionFolder(machine.uuid)
  const known = controls[verb.replace(/[1-8]$/, '')]
  if (known === undefined) throw unknown(`controlvm ${verb}`)
  return await known({ call, machine, folder, verb, online: session.state })
}

interface Control {
  readonly call: Call
  readonly machine: Machine
  readonly folder: string
  readonly verb: string
  readonly online: string
}

const controls: Readonly<Record<string, (control: Control) => Promise<Answer>>> = {
  async acpipowerbutton({ call, folder, online }) {
    if (online !== 'running') throw unknown(`controlvm acpipowerbutton in the state ${online}`)
    await call.engine.pressPowerButton(folder)
    return answer()
  },
  async poweroff({ call, machine, folder }) {
    await call.engine.quit(folder)
    endRun(call, machine)
    return answer('', progress)
  },
  async pause({ call, machine, folder, online }) {
    if (online !== 'running') throw unknown(`controlvm pause in the state ${online}`)
    await call.engine.pause(folder)
    setOnline(call, machine, 'paused')
    return answer()
  },
  async resume({ call, machine, folder, online }) {
    if (online !== 'paused') throw unknown(`controlvm resume in the state ${online}`)
    await call.engine.resume(folder)
    setOnline(call, machine, 'running')
    return answer()
  },
  async reset({ call, folder, online }) {
    if (online !== 'running') throw unknown(`controlvm reset in the state ${online}`)
    await call.engine.reset(folder)
    return answer()
  },
  async savestate({ call, machine, folder, online }) {
    if (online !== 'running' && online !== 'paused')
      throw unknown(`controlvm savestate in the state ${online}`)
    const file = stateFileFor(machine)
    if (online === 'running') await call.engine.pause(folder)
    await call.engine.saveMemory(folder, file)
    await call.engine.quit(folder)
    machine.stateFile = file
    machine.state = 'saved'
    machine.stateChange = Date.now()
    call.store.saveMachine(machine)
    call.store.endSession(machine.uuid, call.settings.lingerMs)
    return answer('', progress)
  },
  async keyboardputscancode({ call }) {
    call.words.rest()
    return answer()
  },
  async screenshotpng({ call }) {
    call.words.rest()
    return answer()
  },
  natpf: forwardPort,
}

/** Returns the path of a file for saved memory, named after the time in nanoseconds. */
export function stateFileFor(machine: Machine): string {
  const folder = join(dirname(machine.cfgFile), 'Snapshots')
  mkdirSync(folder, { recursive: true })
  const time = new Date().toISOString().replace(/[:.]/g, '-').slice(0, -1)
  return join(folder, `${time}000000Z.sav`)
}

function setOnline(call: Call, machine: Machine, state: 'running' | 'paused'): void {
  const session = call.store.session(machine.uuid)
  if (session === undefined) return
  call.store.saveSession(machine.uuid, { ...session, state, stateChange: Date.now() })
}

/** Records that this call ended a run. */
function endRun(call: Call, machine: Machine): void {
  const session = call.store.session(machine.uuid)
  machine.state = 'poweroff'
  machine.stateChange = Date.now()
  dropTransient(machine, session?.resumed === true)
  call.store.saveMachine(machine)
  call.store.endSession(machine.uuid, call.settings.lingerMs)
}

/**
 * Implements `controlvm MACHINE natpfN RULE` and `controlvm MACHINE natpfN delete NAME`, which change the run and the
 * settings.
 */
async function forwardPort({ call, machine, folder, verb }: Control): Promise<Answer> {
  const number = Number(verb.slice(-1))
  const nic = machine.hardware.nics[number - 1]
  const given = call.words.next() ?? ''
  if (nic === undefined || nic.attachment !== 'nat')
    throw unknown(`controlvm ${verb} of an adapter that is not NAT`)
  if (given === 'delete') {
    const name = call.words.next() ?? ''
    if (!nic.rules.some((rule) => rule.name === name))
      throw unknown(`controlvm ${verb} delete of a missing rule`)
    const place: Place = ['RemoveRedirect(Bstr(a->argv[3]).raw())', 1017, control]
    await call.engine.stopForwarding(folder, number, removeRule(nic, name, place))
  } else {
    const rule = parseRule(given)
    if (rule === undefined) throw unknown(`controlvm ${verb} ${given}`)
    addRule(nic, rule, 1010, control)
    if (!(await call.engine.forward(folder, number, rule))) writeLog(machine, false, [conflict(rule)])
  }
  call.store.saveMachine(machine)
  return answer()
}

/** Implements `discardstate MACHINE`. An unsaved machine is an error, although the exit status is 0. */
export async function discardState(call: Call): Promise<Answer> {
  const name = call.words.next()
  if (name === undefined || call.words.more) throw unknown('these words of discardstate')
  const machine = await findMachine(call, name, [
    'FindMachine(Bstr(a->argv[0]).raw(), machine.asOutParam())',
    1280,
    misc,
  ])
  lockForWrite(call, machine, 1287, misc)
  const state = stateOf(call, machine)
  if (state !== 'saved' && state !== 'aborted-saved') {
    const message = `Cannot discard the saved state as the machine is not in the Saved or Aborted-Saved state (machine state: ${stateName(state)})`
    const details = { code: 'VBOX_E_INVALID_VM_STATE', component: 'SessionMachine' } as const
    return answer('', told(message, details, ['DiscardSavedState(true )', 1292, misc]))
  }
  dropStateFile(machine)
  machine.state = state === 'saved' ? 'poweroff' : 'aborted'
  machine.stateChange = Date.now()
  call.store.saveMachine(machine)
  return answer()
}
