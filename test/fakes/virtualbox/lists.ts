import { type Answer, answer, unknown } from './answer.js'
import { type Call, settle } from './call.js'
import { mediumText } from './media.js'
import { hostInterfaces, natNetworks } from './networks.js'
import { misuse } from './usage.js'

/** Recorded answers to `list` that do not depend on the state. */
const fixed: Readonly<Record<string, string>> = {
  ostypes: '010-list-ostypes',
  extpacks: '017-list-extpacks',
  hddbackends: '018-list-hddbackends',
  hostinfo: '011-list-hostinfo',
}

/** Implements `list [--long] [--sorted] WHAT`. */
export async function list(call: Call): Promise<Answer> {
  let what: string | undefined
  let long = false
  let sorted = false
  for (let word = call.words.next(); word !== undefined; word = call.words.next()) {
    if (word === '--long' || word === '-l') long = true
    else if (word === '--sorted' || word === '-s') sorted = true
    else if (word.startsWith('-') || what !== undefined) throw unknown(`list ${word}`)
    else what = word
  }
  if (what === undefined) throw unknown('list without a kind')
  const recorded = fixed[what]
  if (recorded !== undefined) return answer(call.recorded.text(recorded, 'stdout'))
  switch (what) {
    case 'vms':
      if (long) throw unknown('list --long vms')
      return answer(await machineList(call, sorted, false))
    case 'runningvms':
      if (long) throw unknown('list --long runningvms')
      return answer(await machineList(call, sorted, true))
    case 'groups':
      return answer(
        [...new Set(['/', ...call.store.machines().map(({ group }) => group)])]
          .filter((_, __, groups) => groups.length > 1 || call.store.machines().length > 0)
          .map((group) => `"${group}"\n`)
          .join(''),
      )
    case 'hdds':
    case 'dvds':
      return answer(mediaList(call, what === 'hdds' ? 'hdd' : 'dvd', long))
    case 'systemproperties':
      return answer(
        call.recorded
          .text('009-list-systemproperties', 'stdout')
          .replace(
            /^(Default machine folder: +).*$/m,
            (_, label) => `${label}${call.userHome}/VirtualBox VMs`,
          ),
      )
    case 'hostonlyifs':
      return answer(hostInterfaces(call))
    case 'natnets':
      return answer(natNetworks(call))
    case 'bridgedifs':
    case 'intnets':
      return answer()
    case 'hostonlynets':
      throw misuse(call.recorded, 'list', 'Unknown subcommand "hostonlynets".')
    default:
      throw unknown(`list ${what}`)
  }
}

async function machineList(call: Call, sorted: boolean, online: boolean): Promise<string> {
  const entries: { readonly name: string; readonly uuid: string }[] = []
  for (const { uuid, cfgFile } of call.store.registry.machines) {
    const machine = call.store.readMachine(cfgFile)
    if (machine !== undefined) await settle(call, machine)
    if (online && call.store.session(uuid) === undefined) continue
    entries.push({ name: machine?.name ?? '<inaccessible>', uuid })
  }
  if (sorted) entries.sort((one, other) => (one.name < other.name ? -1 : 1))
  return entries.map(({ name, uuid }) => `"${name}" {${uuid}}\n`).join('')
}

/** Lists the media of one kind, each base before its children. */
function mediaList(call: Call, device: 'hdd' | 'dvd', long: boolean): string {
  const { media } = call.store.registry
  const withChildren = (uuid: string | undefined): string[] =>
    media
      .filter((each) => each.device === device && each.parent === uuid)
      .flatMap((each) => [`${mediumText(call, each, long)}\n`, ...withChildren(each.uuid)])
  return withChildren(undefined).join('')
}
