import { release } from 'node:os'
import { type Answer, answer, Refusal, unknown } from './answer.js'
import type { Call, Settings } from './call.js'
import { cloneMachine } from './clone.js'
import type { Engine } from './engine.js'
import { list } from './lists.js'
import { createMachine, registerMachine, unregisterMachine } from './machines.js'
import { cloneMedium, closeMedium, createMedium, mediumProperty, modifyMedium, showMedium } from './media.js'
import { modifyMachine } from './modify.js'
import { hostOnlyInterface, natNetwork } from './networks.js'
import { Arguments } from './options.js'
import { controlMachine, discardState, startMachine } from './power.js'
import { getExtraData, guestProperty, setExtraData, waitForProperty } from './properties.js'
import { convertFromRaw, internalCommand } from './raw-images.js'
import { sharedFolder } from './shared-folders.js'
import { showMachine } from './show.js'
import { snapshot } from './snapshots.js'
import { attachStorage, storageController } from './storage.js'
import { locked, Store } from './store.js'
import { misuse, Recorded } from './usage.js'

/** The environment of one call of the program. */
export interface Surroundings {
  /** The folder of VirtualBox's whole registry: `VBOX_USER_HOME`. */
  readonly home: string
  readonly userHome: string
  readonly folder: string
  /** The folder of the transcripts. */
  readonly recorded: string
  readonly settings: Settings
  readonly engine: Engine
}

const verbs: Readonly<Record<string, (call: Call) => Answer | Promise<Answer>>> = {
  list,
  showvminfo: showMachine,
  createvm: createMachine,
  clonevm: cloneMachine,
  registervm: registerMachine,
  unregistervm: unregisterMachine,
  modifyvm: modifyMachine,
  storagectl: storageController,
  storageattach: attachStorage,
  createmedium: createMedium,
  createhd: createMedium,
  clonemedium: cloneMedium,
  clonehd: cloneMedium,
  modifymedium: modifyMedium,
  modifyhd: modifyMedium,
  closemedium: closeMedium,
  showmediuminfo: showMedium,
  mediumproperty: mediumProperty,
  convertfromraw: convertFromRaw,
  internalcommands: internalCommand,
  setextradata: setExtraData,
  getextradata: getExtraData,
  guestproperty: guestProperty,
  sharedfolder: sharedFolder,
  hostonlyif: hostOnlyInterface,
  natnetwork: natNetwork,
  startvm: startMachine,
  controlvm: controlMachine,
  discardstate: discardState,
  snapshot,
}

/** Verbs of the real program that the stand-in lacks. */
const lacking = [
  ...[
    'dhcpserver',
    'export',
    'import',
    'bandwidthctl',
    'debugvm',
    'encryptmedium',
    'guestcontrol',
    'metrics',
  ],
  ...[
    'adoptstate',
    'cloud',
    'cloudprofile',
    'encryptvm',
    'extpack',
    'help',
    'movevm',
    'setproperty',
    'signova',
  ],
  ...['unattended', 'updatecheck', 'usbdevsource', 'usbfilter', 'modifynvram', 'mediumio', 'checkmediumpwd'],
]

/** Answers one call of VBoxManage. */
export async function run(argv: readonly string[], surroundings: Surroundings): Promise<Answer> {
  const { settings } = surroundings
  await new Promise((resolve) => setTimeout(resolve, settings.slowMs))
  const given = await answerOrRefusal(argv, surroundings)
  const said = settings.translated ? translated(given) : given
  return settings.driver ? said : { ...said, stdout: driverWarning() + said.stdout }
}

async function answerOrRefusal(argv: readonly string[], surroundings: Surroundings): Promise<Answer> {
  try {
    return await dispatch(argv, surroundings)
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    return { exit: error.exit, stdout: error.stdout, stderr: error.stderr }
  }
}

async function dispatch(argv: readonly string[], surroundings: Surroundings): Promise<Answer> {
  const { home, userHome, folder, settings, engine } = surroundings
  const recorded = new Recorded(surroundings.recorded)
  const words = argv[0] === '--nologo' || argv[0] === '-q' ? argv.slice(1) : argv
  const [verb, ...rest] = words
  if (verb === undefined) return answer(recorded.text('003-no-args', 'stdout'))
  if (['--version', '-v', '-V'].includes(verb)) return answer('7.2.22_Debianr175245\n')
  if (lacking.includes(verb) || verb.startsWith('-')) throw unknown(verb)
  const action = verbs[verb]
  if (action === undefined) throw misuse(recorded, 'VBoxManage', `Invalid command '${verb}'`)
  const atHome = <Result>(words: readonly string[], act: (call: Call) => Promise<Result>): Promise<Result> =>
    locked(home, async () => {
      const store = new Store(home)
      const call = { verb, words: new Arguments(words), store, recorded, settings, engine, userHome, folder }
      return await act(call)
    })
  if (verb === 'guestproperty' && rest[0] === 'wait') {
    const outside = await atHome(rest.slice(1), async (call) => call)
    return await waitForProperty(outside, (look) => atHome([], look))
  }
  return await atHome(rest, async (call) => await action(call))
}

/** Returns the warning that Debian's wrapper prints to standard output on a host without the driver. */
function driverWarning(): string {
  return `WARNING: The character device /dev/vboxdrv does not exist.
	 Please install the virtualbox-dkms package and the appropriate
	 headers, most likely linux-headers-${release().split('-').at(-1)}.

	 You will not be able to start VMs until this problem is fixed.
`
}

/** Imitates translated messages; codes and the word `error` stay unchanged. */
function translated(said: Answer): Answer {
  const stderr = said.stderr.replace(
    /^VBoxManage: error: (?!Details:|Context:|Code )(.*)$/gm,
    (_, message: string) => `VBoxManage: error: Übersetzt: ${[...message].reverse().join('')}`,
  )
  return { ...said, stderr }
}
