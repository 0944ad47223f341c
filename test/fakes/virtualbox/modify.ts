import { dirname } from 'node:path'
import { type Answer, answer, errorLine, type Place, Refusal, refusal, unknown } from './answer.js'
import { absolute, type Call, findMachine, lockForWrite, mutable, stateOf } from './call.js'
import { moveMachine } from './machines.js'
import type { Machine, Nic } from './model.js'
import { addRule, parseRule, removeRule } from './nat.js'
import { isOsType } from './os-types.js'
import { freshMac } from './store.js'
import { listedOptions, logo, misuse, unknownOption } from './usage.js'

const file = 'VBoxManageModifyVM.cpp'

/** A change in progress: the machine after the change, and the warnings of the call. */
interface Change {
  readonly call: Call
  readonly machine: Machine
  readonly warnings: string[]
  readonly base: string
}

/** Implements `modifyvm MACHINE OPTION…`, which applies all options or none. */
export async function modifyMachine(call: Call): Promise<Answer> {
  const name = call.words.next()
  if (name === undefined || !call.words.more) throw misuse(call.recorded, 'modifyvm', 'Not enough parameters')
  const machine = await findMachine(call, name, [
    'FindMachine(Bstr(a->argv[0]).raw(), machine.asOutParam())',
    893,
    file,
  ])
  lockForWrite(call, machine, 901, file)
  const folder = dirname(dirname(machine.cfgFile))
  const base =
    machine.group === '/' || !folder.endsWith(machine.group) ? folder : folder.slice(0, -machine.group.length)
  const change: Change = { call, machine: structuredClone(machine), warnings: [], base }
  for (let word = call.words.next(); word !== undefined; word = call.words.next()) applyOption(change, word)
  const moved = change.machine.name !== machine.name || change.machine.group !== machine.group
  if (moved) moveMachine(call, change.machine, base)
  call.store.saveMachine(change.machine)
  return answer('', change.warnings.join(''))
}

function applyOption(change: Change, option: string): void {
  const plain = valueOptions[option]
  if (plain !== undefined) {
    requireMutable(change, option)
    const given = value(change, option)
    change.machine.hardware.values[plain.key] = plain.read(given, change, option)
    return
  }
  const special = specialOptions[option]
  if (special !== undefined) {
    special(change, option)
    return
  }
  const numbered = option.match(/^(--[a-z0-9-]*[a-z])([1-8])$/)
  const adapter = adapterOptions[numbered?.[1] ?? '']
  const nic = change.machine.hardware.nics[Number(numbered?.[2]) - 1]
  if (adapter !== undefined && nic !== undefined) {
    if (!savedAdapterOptions.has(numbered?.[1] ?? '')) requireMutable(change, option)
    adapter(change, nic, Number(numbered?.[2]), option)
    return
  }
  const listed = listedOptions(change.call.recorded, 'modifyvm')
  const pattern = numbered?.[1] ?? option
  if (['', 'N', 'X'].some((end) => listed.has(`${pattern}${end}`)) && !notInThisBuild.has(pattern)) {
    throw unknown(`modifyvm ${option}`)
  }
  throw unknownOption(change.call.recorded, 'modifyvm', option)
}

/** Options that the usage lists, but that the Linux build does not have. */
const notInThisBuild = new Set(['--host-only-net'])

function value({ call }: Change, option: string): string {
  const given = call.words.value()
  if (given === undefined) throw unknown(`modifyvm ${option} without a value`)
  return given
}

const places: Readonly<Record<string, Place>> = {
  '--memory': ['COMSETTER(MemorySize)(ValueUnion.u32)', 988, file],
  '--cpus': ['COMSETTER(CPUCount)(ValueUnion.u32)', 1083, file],
}

function requireMutable({ call, machine }: Change, option: string): void {
  if (stateOf(call, machine) === 'saved') {
    mutable(call, machine, places[option] ?? [`COMSETTER(${option.slice(2)})`, 0, file])
  }
}

interface ValueOption {
  readonly key: string
  readonly read: (given: string, change: Change, option: string) => string | number
}

const number =
  (least: number, most: number, message?: (given: number) => string) =>
  (given: string, _: Change, option: string): number => {
    // The real program prints an error without a message.
    if (!/^[0-9]+$/.test(given)) throw new Refusal(`${logo}VBoxManage: error: `)
    const asked = Number(given)
    if (asked >= least && asked <= most) return asked
    if (message === undefined) throw unknown(`modifyvm ${option} ${given}`)
    throw refusal(
      message(asked),
      { code: 'NS_ERROR_INVALID_ARG', component: 'SessionMachine' },
      places[option],
    )
  }

const choice =
  (values: Readonly<Record<string, string>>) =>
  (given: string, _: Change, option: string): string => {
    const chosen = values[given]
    if (chosen === undefined) throw unknown(`modifyvm ${option} ${given}`)
    return chosen
  }

const oneOf = (...values: string[]): ValueOption['read'] =>
  choice(Object.fromEntries(values.map((each) => [each, each])))

const onOff = oneOf('on', 'off')
const audioDrivers = oneOf('none', 'default', 'null', 'oss', 'alsa', 'pulse')
const bootDevices = oneOf('none', 'floppy', 'dvd', 'disk', 'net')

const valueOptions: Readonly<Record<string, ValueOption>> = Object.fromEntries(
  [
    {
      names: ['--memory'],
      key: 'memory',
      read: number(4, 2_097_152, (mb) => `Invalid RAM size: ${mb} MB (must be in range [4, 2097152] MB)`),
    },
    {
      names: ['--cpus'],
      key: 'cpus',
      read: number(1, 64, (count) => `Invalid virtual CPU count: ${count} (must be in range [1, 64])`),
    },
    { names: ['--vram'], key: 'vram', read: number(0, 256) },
    {
      names: ['--cpuexecutioncap', '--cpu-execution-cap'],
      key: 'cpuexecutioncap',
      read: number(1, 100),
    },
    { names: ['--pae', '--x86-pae'], key: 'pae', read: onOff },
    { names: ['--longmode', '--x86-long-mode'], key: 'longmode', read: onOff },
    { names: ['--hpet', '--x86-hpet'], key: 'hpet', read: onOff },
    { names: ['--x2apic', '--x86-x2apic'], key: 'x2apic', read: onOff },
    { names: ['--apic'], key: 'apic', read: onOff },
    { names: ['--acpi'], key: 'acpi', read: onOff },
    { names: ['--ioapic'], key: 'ioapic', read: onOff },
    { names: ['--hwvirtex'], key: 'hwvirtex', read: onOff },
    { names: ['--nestedpaging', '--nested-paging'], key: 'nestedpaging', read: onOff },
    { names: ['--largepages', '--large-pages'], key: 'largepages', read: onOff },
    { names: ['--vtxvpid', '--x86-vtx-vpid'], key: 'vtxvpid', read: onOff },
    { names: ['--vtxux', '--x86-vtx-ux'], key: 'vtxux', read: onOff },
    { names: ['--nested-hw-virt'], key: 'nested-hw-virt', read: onOff },
    { names: ['--rtcuseutc', '--rtc-use-utc'], key: 'rtcuseutc', read: onOff },
    { names: ['--accelerate3d', '--accelerate-3d'], key: 'accelerate3d', read: onOff },
    { names: ['--audioout', '--audio-out'], key: 'audio_out', read: onOff },
    { names: ['--audioin', '--audio-in'], key: 'audio_in', read: onOff },
    { names: ['--usbohci', '--usb-ohci', '--usb'], key: 'usb', read: onOff },
    { names: ['--usbehci', '--usb-ehci'], key: 'ehci', read: onOff },
    { names: ['--usbxhci', '--usb-xhci'], key: 'xhci', read: onOff },
    { names: ['--vrde'], key: 'vrde', read: oneOf('off') },
    { names: ['--chipset'], key: 'chipset', read: oneOf('piix3', 'ich9') },
    {
      names: ['--graphicscontroller'],
      key: 'graphicscontroller',
      read: oneOf('none', 'vboxvga', 'vmsvga', 'vboxsvga'),
    },
    {
      names: ['--firmware'],
      key: 'firmware',
      read: (given: string) => {
        const kinds: Readonly<Record<string, string>> = {
          bios: 'BIOS',
          efi: 'EFI',
          efi32: 'EFI32',
          efi64: 'EFI64',
        }
        const kind = kinds[given]
        if (kind === undefined) throw new Refusal(errorLine(`Invalid --firmware argument '${given}'`))
        return kind
      },
    },
    {
      names: ['--paravirtprovider', '--paravirt-provider'],
      key: 'paravirtprovider',
      read: oneOf('none', 'default', 'legacy', 'minimal', 'hyperv', 'kvm'),
    },
    ...['boot1', 'boot2', 'boot3', 'boot4'].map((key) => ({ names: [`--${key}`], key, read: bootDevices })),
    { names: ['--audio-driver'], key: 'audio', read: audioDrivers },
    { names: ['--mouse'], key: 'hidpointing', read: choice({ ps2: 'ps2mouse', usbtablet: 'usbtablet' }) },
    { names: ['--clipboard-mode', '--clipboard'], key: 'clipboard', read: oneOf('disabled') },
    { names: ['--draganddrop', '--drag-and-drop'], key: 'draganddrop', read: oneOf('disabled') },
  ].flatMap(({ names, key, read }) => names.map((name) => [name, { key, read }])),
)

const specialOptions: Readonly<Record<string, (change: Change, option: string) => void>> = {
  '--name': (change, option) => {
    requireMutable(change, option)
    const name = value(change, option)
    const other = change.call.store.find(name)
    if (other !== undefined && other !== 'inaccessible' && other.uuid !== change.machine.uuid) {
      throw unknown('modifyvm --name with the name of another machine')
    }
    change.machine.name = name
  },
  '--groups': (change, option) => {
    change.machine.group = value(change, option)
  },
  '--description': (change, option) => {
    change.machine.hardware.description = value(change, option)
  },
  '--ostype': osTypeOption,
  '--os-type': osTypeOption,
  '--audio': (change, option) => {
    change.warnings.push(
      'Warning: --audio is deprecated and will be removed soon. Use --audio-driver instead!\n',
    )
    change.machine.hardware.values.audio = audioDrivers(value(change, option), change, option)
  },
  '--vm-execution-engine': (change, option) => {
    change.machine.hardware.engine = value(change, option)
  },
  '--hardware-uuid': (change, option) => {
    throw unknown(`modifyvm ${option} ${value(change, option)}`)
  },
}

function osTypeOption(change: Change, option: string): void {
  requireMutable(change, option)
  const id = value(change, option)
  if (!isOsType(change.call.recorded, id)) throw unknown(`modifyvm ${option} ${id}`)
  change.machine.hardware.osType = id
}

type AdapterOption = (change: Change, nic: Nic, number: number, option: string) => void

const attachments = ['none', 'null', 'nat', 'bridged', 'intnet', 'hostonly', 'natnetwork']
const nicTypes = ['Am79C970A', 'Am79C973', '82540EM', '82543GC', '82545EM', 'virtio', 'usbnet']

const attach: AdapterOption = (change, nic, number, option) => {
  const kind = value(change, option)
  if (!attachments.includes(kind)) {
    throw new Refusal(errorLine(`Invalid type '${kind}' specfied for NIC ${number}`))
  }
  nic.attachment = kind
}

const nicType: AdapterOption = (change, nic, number, option) => {
  const kind = value(change, option)
  if (!nicTypes.includes(kind))
    throw new Refusal(errorLine(`Invalid NIC type '${kind}' specified for NIC ${number}`))
  nic.type = kind
}

const forwarding: AdapterOption = (change, nic, number, option) => {
  const given = value(change, option)
  if (given === 'delete') {
    const place: Place = ['RemoveRedirect(Bstr(ValueUnion.psz).raw())', 2264, file]
    removeRule(nic, value(change, option), place)
    return
  }
  const rule = parseRule(given)
  if (rule === undefined) {
    const parts = given.split(',')
    if (parts.length === 6 && parts[1] !== 'tcp' && parts[1] !== 'udp') {
      throw new Refusal(errorLine(`Invalid proto '${given}' specfied for NIC ${number}`))
    }
    throw misuse(change.call.recorded, 'modifyvm', `Missing or invalid argument to '--natpf'`)
  }
  addRule(nic, rule, 2251, file)
}

const hostOnlyAdapter: AdapterOption = (change, nic, _, option) => {
  nic.hostOnlyAdapter = value(change, option)
  if (!change.call.store.registry.interfaces.some(({ name }) => name === nic.hostOnlyAdapter)) {
    change.warnings.push(`VBoxManage: warning: Interface "${nic.hostOnlyAdapter}" doesn't seem to exist\n`)
  }
}

const macAddress: AdapterOption = (change, nic, _, option) => {
  const given = value(change, option)
  if (given !== 'auto' && !/^[0-9a-f][02468ace][0-9a-f]{10}$/i.test(given)) {
    const details = { code: 'NS_ERROR_INVALID_ARG', component: 'NetworkAdapterWrap' } as const
    const place: Place = ['COMSETTER(MACAddress)(Bstr(ValueUnion.psz).raw())', 2461, file]
    throw refusal('Invalid MAC address format', details, place)
  }
  nic.mac = given === 'auto' ? freshMac() : given.toUpperCase()
}

const word =
  (key: 'subnet' | 'bridgeAdapter' | 'internalNetwork' | 'natNetwork'): AdapterOption =>
  (change, nic, _, option) => {
    const given = value(change, option)
    nic[key] = key === 'subnet' && given === 'default' ? 'nat' : given
  }

const cable: AdapterOption = (change, nic, _, option) => {
  nic.cable = onOff(value(change, option), change, option) === 'on'
}

const reachable: AdapterOption = (change, nic, _, option) => {
  nic.localhostReachable = onOff(value(change, option), change, option) === 'on'
}

const uart: AdapterOption = (change, _, number, option) => {
  const base = value(change, option)
  const { uarts } = change.machine.hardware
  if (base === 'off') {
    uarts[number - 1] = null
    return
  }
  const irq = value(change, option)
  if (number > 4 || !/^0x[0-9a-f]+$/i.test(base) || !/^[0-9]+$/.test(irq)) {
    throw unknown(`modifyvm ${option} ${base} ${irq}`)
  }
  const address = `0x${Number(base).toString(16).padStart(4, '0')}`
  uarts[number - 1] = { base: address, irq, mode: uarts[number - 1]?.mode ?? 'disconnected' }
}

const uartMode: AdapterOption = (change, _, number, option) => {
  const mode = value(change, option)
  const port = change.machine.hardware.uarts[number - 1]
  if (mode !== 'disconnected' && mode !== 'file') throw unknown(`modifyvm ${option} ${mode}`)
  const path = mode === 'file' ? `,${absolute(change.call, value(change, option))}` : ''
  if (port === undefined || port === null) throw unknown(`modifyvm ${option} of a port that is off`)
  port.mode = `${mode}${path}`
}

const adapterOptions: Readonly<Record<string, AdapterOption>> = {
  '--nic': attach,
  '--nictype': nicType,
  '--nic-type': nicType,
  '--natpf': forwarding,
  '--nat-pf': forwarding,
  '--hostonlyadapter': hostOnlyAdapter,
  '--host-only-adapter': hostOnlyAdapter,
  '--bridgeadapter': word('bridgeAdapter'),
  '--bridge-adapter': word('bridgeAdapter'),
  '--intnet': word('internalNetwork'),
  '--nat-network': word('natNetwork'),
  '--macaddress': macAddress,
  '--mac-address': macAddress,
  '--cableconnected': cable,
  '--cable-connected': cable,
  '--natnet': word('subnet'),
  '--nat-net': word('subnet'),
  '--nat-localhostreachable': reachable,
  '--natlocalhostreachable': reachable,
  '--uart': uart,
  '--uartmode': uartMode,
  '--uart-mode': uartMode,
}

/** Options that a saved machine accepts as well. */
const savedAdapterOptions = new Set([
  ...['--natpf', '--nat-pf', '--hostonlyadapter', '--host-only-adapter', '--cableconnected'],
  ...['--cable-connected', '--bridgeadapter', '--bridge-adapter', '--intnet', '--nat-network'],
])
