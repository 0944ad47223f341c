import { type Answer, answer, errorLine, type Place, Refusal, refusal, unknown } from './answer.js'
import { type Call, findMachine } from './call.js'
import type { Machine, Property } from './model.js'

const misc = 'VBoxManageMisc.cpp'
const guest = 'VBoxManageGuestProp.cpp'
const invalid = { code: 'NS_ERROR_INVALID_ARG', component: 'SessionMachine' } as const
const none = 'No value set!\n'

const extraPlace = (line: number): Place => [
  'FindMachine(Bstr(a->argv[0]).raw(), machine.asOutParam())',
  line,
  misc,
]

/** Implements `setextradata MACHINE|global KEY [VALUE]`: a missing or empty value removes the key. */
export async function setExtraData(call: Call): Promise<Answer> {
  const [owner, key, value, more] = call.words.rest()
  if (owner === undefined || key === undefined || more !== undefined)
    throw unknown('these words of setextradata')
  const machine = owner === 'global' ? undefined : await findMachine(call, owner, extraPlace(1438))
  const data = machine?.extraData ?? call.store.registry.extraData
  if (value === undefined || value === '') delete data[key]
  else data[key] = value
  if (machine === undefined) call.store.saveRegistry()
  else call.store.saveMachine(machine)
  return answer()
}

/** Implements `getextradata MACHINE|global KEY|enumerate`. */
export async function getExtraData(call: Call): Promise<Answer> {
  const [owner, key, more] = call.words.rest()
  if (owner === undefined || key === undefined || more !== undefined)
    throw unknown('these words of getextradata')
  const machine = owner === 'global' ? undefined : await findMachine(call, owner, extraPlace(1378))
  const data = machine?.extraData ?? call.store.registry.extraData
  if (key === 'enumerate') {
    const lines = Object.entries(data).sort(([one], [other]) => (one < other ? -1 : 1))
    return answer(lines.map(([name, value]) => `Key: ${name}, Value: ${value}\n`).join(''))
  }
  const value = data[key]
  return answer(value === undefined ? none : `Value: ${value}\n`)
}

/** Implements `guestproperty get|set|delete|unset|enumerate MACHINE …`; `waitForProperty` implements `wait`. */
export async function guestProperty(call: Call): Promise<Answer> {
  const verb = call.words.next()
  switch (verb) {
    case 'get':
      return await getProperty(call)
    case 'set':
      return await setProperty(call)
    case 'delete':
    case 'unset':
      return await deleteProperty(call)
    case 'enumerate':
      return await enumerateProperties(call)
    default:
      throw unknown(`guestproperty ${verb ?? 'without a verb'}`)
  }
}

async function machineOf(call: Call, line: number): Promise<Machine> {
  const name = call.words.next()
  if (name === undefined || name.startsWith('-')) throw unknown('guestproperty without a machine')
  return await findMachine(call, name, [
    'FindMachine(Bstr(a->argv[0]).raw(), machine.asOutParam())',
    line,
    guest,
  ])
}

async function getProperty(call: Call): Promise<Answer> {
  const machine = await machineOf(call, 77)
  const [name, verbose, more] = call.words.rest()
  if (name === undefined || more !== undefined) throw unknown('these words of guestproperty get')
  if (verbose !== undefined && verbose !== '--verbose') throw unknown(`guestproperty get ${verbose}`)
  const property = machine.hardware.properties[name]
  if (property === undefined || property.value === '') return answer(none)
  const about = `Timestamp: ${property.time}000000\nFlags: ${property.flags}\n`
  return answer(`Value: ${property.value}\n${verbose === undefined ? '' : about}`)
}

async function setProperty(call: Call): Promise<Answer> {
  const machine = await machineOf(call, 140)
  const [name, value, flagsWord, given, more] = call.words.rest()
  if (name === undefined || value === undefined || more !== undefined) {
    throw unknown('these words of guestproperty set')
  }
  if (flagsWord !== undefined && flagsWord !== '--flags') throw unknown(`guestproperty set ${flagsWord}`)
  const { properties } = machine.hardware
  const flags = given ?? properties[name]?.flags ?? ''
  const place: Place =
    given === undefined
      ? ['SetGuestPropertyValue(Bstr(pszName).raw(), Bstr(pszValue).raw())', 151, guest]
      : ['SetGuestProperty(Bstr(pszName).raw(), Bstr(pszValue).raw(), Bstr(pszFlags).raw())', 154, guest]
  if (Buffer.byteLength(value) >= 1024) throw refusal('VERR_TOO_MUCH_DATA', invalid, place)
  if (/TRANSIENT|TRANSRESET/.test(flags) && call.store.session(machine.uuid) === undefined) {
    throw refusal(
      'Properties with TRANSIENT or TRANSRESET flag cannot be set or modified if VM is not running',
      invalid,
      place,
    )
  }
  properties[name] = { value, time: Date.now(), flags }
  call.store.saveMachine(machine)
  return answer()
}

async function deleteProperty(call: Call): Promise<Answer> {
  const machine = await machineOf(call, 195)
  const [name, more] = call.words.rest()
  if (name === undefined || more !== undefined) throw unknown('these words of guestproperty delete')
  delete machine.hardware.properties[name]
  call.store.saveMachine(machine)
  return answer()
}

const mostName = 48
const mostValue = 28

async function enumerateProperties(call: Call): Promise<Answer> {
  const machine = await machineOf(call, 240)
  const patterns: string[] = []
  let times = true
  let flags = true
  for (let word = call.words.next(); word !== undefined; word = call.words.next()) {
    if (word === '--no-timestamp') times = false
    else if (word === '--no-flags') flags = false
    else if (word === '--patterns') patterns.push(call.words.value() ?? '')
    else if (word.startsWith('-')) throw unknown(`guestproperty enumerate ${word}`)
    else patterns.push(word)
  }
  const found = Object.entries(machine.hardware.properties)
    .filter(([name]) => patterns.length === 0 || patterns.some((pattern) => matches(name, pattern)))
    .sort(([one], [other]) => (one < other ? -1 : 1))
  if (found.length === 0) return answer('No properties found.\n')
  const nameWidth = Math.min(mostName, Math.max(1, ...found.map(([name]) => name.length)))
  const valueWidth = Math.min(mostValue, Math.max(1, ...found.map(([, { value }]) => value.length)))
  return answer(
    found
      .map(([name, property]) => propertyLine(name, property, { nameWidth, valueWidth, times, flags }))
      .join(''),
  )
}

interface Table {
  readonly nameWidth: number
  readonly valueWidth: number
  readonly times: boolean
  readonly flags: boolean
}

function propertyLine(name: string, property: Property, table: Table): string {
  const { value, time, flags } = property
  const head = `${name.padEnd(table.nameWidth)} = '${value}'`
  const shownFlags = table.flags ? flags : ''
  if (!table.times && shownFlags === '') return `${head}\n`
  const room = table.nameWidth + table.valueWidth + 6
  const padding = ' '.repeat(head.length < room ? room - head.length : 1)
  const stamp = table.times ? `@ ${new Date(time).toISOString()}` : ''
  return `${head}${padding}${stamp}${shownFlags === '' ? '' : ` ${shownFlags}`}\n`
}

/** Matches as VirtualBox does: `*` matches anything, `|` and `,` separate patterns. */
function matches(name: string, patterns: string): boolean {
  return patterns.split(/[|,]/).some((pattern) => {
    const literal = pattern
      .split('*')
      .map((part) => part.replace(/[.+^${}()|[\]\\]/g, '\\$&').replaceAll('?', '.'))
    return new RegExp(`^${literal.join('.*')}$`, 's').test(name)
  })
}

/** The pause between two reads of a property, in milliseconds. */
const pauseMs = 50

/**
 * Implements `guestproperty wait MACHINE PATTERN --timeout MS` outside the lock, so that another call can set the
 * property.
 */
export async function waitForProperty(
  call: Call,
  reread: <Result>(look: (call: Call) => Promise<Result>) => Promise<Result>,
): Promise<Answer> {
  const [name, pattern, ...options] = call.words.rest()
  if (name === undefined || pattern === undefined) throw unknown('these words of guestproperty wait')
  const timeout = Number(options[options.indexOf('--timeout') + 1])
  const failing = options.includes('--fail-on-timeout')
  if (!options.includes('--timeout') || !Number.isInteger(timeout)) {
    throw unknown('guestproperty wait without an end')
  }
  const look = () =>
    reread(async (fresh) => {
      const place: Place = ['FindMachine(Bstr(a->argv[0]).raw(), machine.asOutParam())', 400, guest]
      const { hardware } = await findMachine(fresh, name, place)
      return Object.entries(hardware.properties).filter(([key]) => matches(key, pattern))
    })
  const before = new Map((await look()).map(([key, { time }]) => [key, time]))
  // The timeout counts pauses instead of real time, so that another call can set the property on a busy host.
  for (let waited = 0; waited < timeout; waited += pauseMs) {
    const [changed] = (await look()).filter(([key, { time }]) => before.get(key) !== time)
    if (changed !== undefined) {
      const [key, { value, flags }] = changed
      return answer(`Name: ${key}, value: ${value}, flags: ${flags}\n`)
    }
    await new Promise((resolve) => setTimeout(resolve, pauseMs))
  }
  const late = errorLine('Time out or interruption while waiting for a notification.')
  if (failing) throw new Refusal(late, 2)
  return answer('', late)
}
