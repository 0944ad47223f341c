import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { buildSync } from 'esbuild'
import type { MachineState } from './model.js'
import { removeBusyFolder } from './remove-folder.js'
import { alive, Store, writeWhole } from './store.js'

export interface StandIn {
  /** The path of the program, for `HYDRA_OPS_VBOXMANAGE`. */
  readonly program: string
  /** The folder of the stand-in's registry. Every call uses this folder, even if the caller sets `VBOX_USER_HOME`. */
  readonly home: string
}

export interface Choices {
  /** Words of `VBOX_STAND_IN`, as in `main.ts`. */
  readonly behaviour?: readonly string[]
  /** The text of the file with the allowed host-only ranges. */
  readonly networks?: string
}

/** Installs the stand-in into a folder as the program `VBoxManage`, with an empty registry. */
export function installVBoxManage(folder: string, choices: Choices = {}): StandIn {
  const home = join(folder, 'VirtualBox')
  const program = join(folder, 'VBoxManage')
  mkdirSync(home, { recursive: true })
  buildSync({
    entryPoints: [join(import.meta.dirname, 'main.ts')],
    outfile: join(folder, 'stand-in', 'main.mjs'),
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20.11',
    logLevel: 'warning',
  })
  const fixtures = join(import.meta.dirname, '..', '..', 'fixtures', 'virtualbox')
  const recorded = join(folder, 'stand-in', 'recorded')
  mkdirSync(recorded, { recursive: true })
  for (const name of readdirSync(fixtures)) {
    if (name.endsWith('.txt')) copyFileSync(join(fixtures, name), join(recorded, name))
  }
  writeFileSync(join(folder, 'networks.conf'), choices.networks ?? '* 192.168.56.0/21\n')
  behave({ program, home }, choices.behaviour ?? [])
  return { program, home }
}

/** Sets the behaviour of a stand-in's VirtualBox for all later calls. */
export function behave({ program, home }: StandIn, behaviour: readonly string[]): void {
  const folder = join(program, '..')
  const environment = {
    VBOX_USER_HOME: home,
    VBOX_STAND_IN: behaviour.join(','),
    VBOX_STAND_IN_NETWORKS: join(folder, 'networks.conf'),
  }
  const exports = Object.entries(environment).map(([name, value]) => `export ${name}='${value}'\n`)
  const call = `exec '${process.execPath}' '${join(folder, 'stand-in', 'main.mjs')}' "$@"\n`
  writeFileSync(program, `#!/bin/sh\n${exports.join('')}${call}`)
  chmodSync(program, 0o755)
}

/** Ends all machines of a stand-in, whatever their state. */
export function endAll({ home }: StandIn): void {
  const runs = join(home, 'run')
  for (const uuid of existsSync(runs) ? readdirSync(runs) : []) {
    const pid = processOf(home, uuid)
    if (pid !== undefined && alive(pid)) process.kill(pid, 'SIGKILL')
    // The process that supervises QEMU may still write its last file.
    removeBusyFolder(join(runs, uuid))
  }
}

/** Returns the process ID of a running machine. */
export function processOf(home: string, uuid: string): number | undefined {
  const file = join(home, 'run', uuid, 'pid')
  return existsSync(file) ? Number(readFileSync(file, 'utf8')) : undefined
}

/** Puts a machine into a state that no call can produce: `aborted`, `gurumeditation`, `starting`, … */
export function forceState({ home }: StandIn, uuid: string, state: MachineState): void {
  const store = new Store(home)
  const machine = store.find(uuid)
  if (machine === undefined || machine === 'inaccessible') throw new Error(`no machine ${uuid}`)
  const session = store.session(uuid)
  if (state === 'poweroff' || state === 'saved' || state === 'aborted' || state === 'aborted-saved') {
    if (session !== undefined) throw new Error(`the machine ${uuid} is ${session.state}`)
    machine.state = state
    machine.stateChange = Date.now()
    store.saveMachine(machine)
  } else {
    const started = { state, stateChange: Date.now(), resumed: false, launching: false }
    store.saveSession(uuid, session === undefined ? started : { ...session, state })
  }
}

/** Gives the host an interface for host-only networks. */
export function addHostInterface({ home }: StandIn, name: string, address: string, mask: string): void {
  const store = new Store(home)
  store.registry.interfaces.push({ name, address, mask, up: false })
  writeWhole(join(home, 'VirtualBox.json'), store.registry)
}
