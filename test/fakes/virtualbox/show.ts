import { join } from 'node:path'
import { type Answer, answer, unknown } from './answer.js'
import { type Call, findMachine } from './call.js'
import {
  type Controller,
  devicesPerPort,
  type Machine,
  maxPorts,
  type Nic,
  type Session,
  type Snapshot,
  type Uart,
} from './model.js'
import { osDescription, osFamily } from './os-types.js'

/** Implements `showvminfo MACHINE --machinereadable`. */
export async function showMachine(call: Call): Promise<Answer> {
  let name: string | undefined
  let machineReadable = false
  for (let word = call.words.next(); word !== undefined; word = call.words.next()) {
    if (word === '--machinereadable') machineReadable = true
    else if (word.startsWith('-') || name !== undefined) throw unknown(`showvminfo ${word}`)
    else name = word
  }
  if (name === undefined) throw unknown('showvminfo without a machine')
  const machine = await findMachine(call, name, [
    'FindMachine(Bstr(VMNameOrUuid).raw(), machine.asOutParam())',
    3248,
    'VBoxManageInfo.cpp',
  ])
  if (!machineReadable) throw unknown('showvminfo without --machinereadable')
  return answer(machineLines(call, machine).join(''))
}

function line(key: string, value: string | number): string {
  return `${key}=${typeof value === 'number' ? value : `"${escaped(value)}"`}\n`
}

function escaped(value: string): string {
  return value.replace(/["\\]/g, '\\$&')
}

const beforeNvram = [
  ...[
    'memory',
    'pagefusion',
    'vram',
    'cpuexecutioncap',
    'cpu-profile',
    'chipset',
    'firmware',
    'cpus',
    'hpet',
  ],
  ...['pae', 'longmode', 'triplefaultreset', 'apic', 'x2apic', 'nested-hw-virt', 'hwvirtex', 'nestedpaging'],
  ...['largepages', 'vtxvpid', 'vtxux', 'virtvmsavevmload', 'cpuid-portability-level', 'bootmenu'],
  ...['boot1', 'boot2', 'boot3', 'boot4', 'acpi', 'ioapic', 'biosapic', 'biossystemtimeoffset'],
]

function machineLines(call: Call, machine: Machine): string[] {
  const { hardware, uuid, cfgFile } = machine
  const session = call.store.session(uuid)
  const folder = cfgFile.replace(/\/[^/]*$/, '')
  const stem = cfgFile.replace(/\.vbox$/, '')
  const value = (key: string): string => line(key, hardware.values[key] ?? '')
  return [
    line('name', machine.name),
    line('encryption', 'disabled'),
    line('groups', machine.group),
    line('platformArchitecture', 'x86'),
    line('ostype', osDescription(call.recorded, hardware.osType)),
    line('UUID', uuid),
    line('CfgFile', cfgFile),
    line('SnapFldr', join(folder, 'Snapshots')),
    line('LogFldr', join(folder, 'Logs')),
    line('hardwareuuid', uuid),
    ...beforeNvram.map(value),
    line('NvramFile', `${stem}.nvram`),
    value('rtcuseutc'),
    value('iommu'),
    value('paravirtprovider'),
    line('effparavirtprovider', effectiveProvider(call, machine)),
    line('VMState', session?.state ?? machine.state),
    line('VMStateChangeTime', stateTime(session?.stateChange ?? machine.stateChange)),
    ...(machine.stateFile === undefined ? [] : [line('VMStateFile', machine.stateFile)]),
    ...['graphicscontroller', 'monitorcount', 'accelerate3d'].map(value),
    ...teleporter,
    value('defaultfrontend'),
    value('vmprocpriority'),
    ...controllerLines(call, hardware.controllers),
    ...hardware.nics.flatMap((nic, index) => nicLines(call, nic, index + 1)),
    value('hidpointing'),
    value('hidkeyboard'),
    ...hardware.uarts.flatMap((uart, index) => uartLines(uart, index + 1)),
    line('lpt1', 'off'),
    line('lpt2', 'off'),
    ...['audio', 'audio_out', 'audio_in', 'clipboard'].map(value),
    line('clipboard_file_transfers', 'off'),
    value('draganddrop'),
    ...(session === undefined ? [] : [line('SessionName', 'headless'), 'VideoMode="720,400,0"@0,0 1\n']),
    ...['vrde', 'usb', 'ehci', 'xhci'].map(value),
    ...hardware.sharedFolders.flatMap(({ name, hostPath }, index) => [
      line(`SharedFolderNameMachineMapping${index + 1}`, name),
      line(`SharedFolderPathMachineMapping${index + 1}`, hostPath),
    ]),
    ...(session === undefined ? [] : [line('VRDEActiveConnection', 'off'), 'VRDEClients==0\n']),
    ...recording(stem),
    ...(hardware.description === '' ? [] : [line('description', hardware.description)]),
    ...snapshotLines(machine),
    line('GuestMemoryBalloon', 0),
    ...(session === undefined ? [] : guestLines(machine, session)),
  ]
}

/** Returns the time of a state change with the precision of VirtualBox's service. */
function stateTime(milliseconds: number): string {
  return `${new Date(milliseconds).toISOString().slice(0, -1)}000000`
}

function effectiveProvider(call: Call, { hardware }: Machine): string {
  const chosen = String(hardware.values.paravirtprovider)
  if (chosen !== 'default') return chosen
  const family = osFamily(call.recorded, hardware.osType)
  if (family === 'Linux') return 'kvm'
  if (family === 'Other') return 'none'
  throw unknown(`the paravirtualisation that ${hardware.osType} gets`)
}

const teleporter = [
  line('teleporterenabled', 'off'),
  line('teleporterport', 0),
  line('teleporteraddress', ''),
  line('teleporterpassword', ''),
  line('tracing-enabled', 'off'),
  line('tracing-allow-vm-access', 'off'),
  line('tracing-config', ''),
  line('autostart-enabled', 'off'),
  line('autostart-delay', 0),
]

function controllerLines(call: Call, controllers: readonly Controller[]): string[] {
  const heads = controllers.flatMap((controller, index) => [
    line(`storagecontrollername${index}`, controller.name),
    line(`storagecontrollertype${index}`, controller.type),
    line(
      `storagecontrollerinstance${index}`,
      String(controllers.slice(0, index).filter(({ bus }) => bus === controller.bus).length),
    ),
    line(`storagecontrollermaxportcount${index}`, String(maxPorts[controller.bus] ?? 1)),
    line(`storagecontrollerportcount${index}`, String(controller.portCount)),
    line(`storagecontrollerbootable${index}`, controller.bootable ? 'on' : 'off'),
  ])
  return [...heads, ...controllers.flatMap((controller) => slotLines(call, controller))]
}

function slotLines(call: Call, { name, bus, portCount, slots }: Controller): string[] {
  const keyed = (key: string, value: string): string => `"${escaped(key)}"="${escaped(value)}"\n`
  const places = Array.from({ length: portCount }, (_, port) =>
    Array.from({ length: devicesPerPort(bus) }, (_, device) => `${port}-${device}`),
  ).flat()
  return places.flatMap((place) => {
    const slot = slots[place]
    if (slot === undefined) return [keyed(`${name}-${place}`, 'none')]
    if (slot.medium === undefined) {
      return [keyed(`${name}-${place}`, 'emptydrive'), keyed(`${name}-IsEjected-${place}`, 'off')]
    }
    const medium = call.store.medium(slot.medium)
    const head = [
      keyed(`${name}-${place}`, medium?.path ?? ''),
      keyed(`${name}-ImageUUID-${place}`, slot.medium),
    ]
    if (slot.kind === 'dvddrive') return [...head, keyed(`${name}-IsEjected-${place}`, 'off')]
    const more = bus === 'sata' ? ['hot-pluggable', 'nonrotational', 'discard'] : ['nonrotational', 'discard']
    return [...head, ...more.map((key) => keyed(`${name}-${key}-${place}`, 'off'))]
  })
}

const networkKeys: Readonly<Record<string, (nic: Nic) => readonly [string, string] | undefined>> = {
  nat: ({ subnet }) => ['natnet', subnet],
  hostonly: ({ hostOnlyAdapter }) => ['hostonlyadapter', hostOnlyAdapter],
  bridged: ({ bridgeAdapter }) => ['bridgeadapter', bridgeAdapter],
  intnet: ({ internalNetwork }) => ['intnet', internalNetwork],
  natnetwork: ({ natNetwork }) => ['nat-network', natNetwork],
  null: () => undefined,
}

function nicLines(call: Call, nic: Nic, number: number): string[] {
  if (nic.attachment === 'none') return [line(`nic${number}`, 'none')]
  const network = networkKeys[nic.attachment]?.(nic)
  const reachable = nic.localhostReachable || call.settings.serviceRestarted
  return [
    ...(network === undefined ? [] : [line(`${network[0]}${number}`, network[1])]),
    line(`macaddress${number}`, nic.mac),
    line(`cableconnected${number}`, nic.cable ? 'on' : 'off'),
    line(`nic${number}`, nic.attachment),
    line(`nictype${number}`, nic.type),
    line(`nicspeed${number}`, '0'),
    ...(nic.attachment === 'nat' ? natLines(nic, reachable) : []),
  ]
}

function natLines({ rules }: Nic, reachable: boolean): string[] {
  const byName = [...rules].sort((one, other) => (one.name < other.name ? -1 : 1))
  return [
    line('mtu', '0'),
    ...['sockSnd', 'sockRcv', 'tcpWndSnd', 'tcpWndRcv'].map((key) => line(key, '64')),
    line('localhostReachable', reachable ? '1' : '0'),
    line('forwardBroadcast', '0'),
    line('enableTFTP', '0'),
    ...byName.map((rule, index) => {
      const { name, protocol, hostAddress, hostPort, guestAddress, guestPort } = rule
      const parts = [name, protocol, hostAddress, hostPort, guestAddress, guestPort]
      return line(`Forwarding(${index})`, parts.join(','))
    }),
  ]
}

function uartLines(uart: Uart | null, number: number): string[] {
  if (uart === null) return [line(`uart${number}`, 'off')]
  return [
    line(`uart${number}`, `${uart.base},${uart.irq}`),
    line(`uartmode${number}`, uart.mode),
    line(`uarttype${number}`, '16550A'),
  ]
}

function recording(stem: string): string[] {
  return [
    line('recording_started', 'off'),
    line('recording_enabled', 'off'),
    line('recording_screens', 1),
    ' rec_screen0\n',
    line('rec_screen_enabled', 'on'),
    line('rec_screen_id', 0),
    line('rec_screen_video_enabled', 'on'),
    line('rec_screen_audio_enabled', 'off'),
    line('rec_screen_dest', 'File'),
    line('rec_screen_dest_filename', `${stem}-screen0.webm`),
    line('rec_screen_opts', 'ac_profile=med'),
    line('rec_screen_video_res_xy', '1024x768'),
    line('rec_screen_video_rate_kbps', 512),
    line('rec_screen_video_fps', 25),
  ]
}

/**
 * Lists the snapshots as a tree of keys. The lines of the current snapshot follow the tree. VirtualBox does not escape
 * names and descriptions.
 */
export function snapshotLines(machine: Machine): string[] {
  const raw = (key: string, value: string): string => `${key}="${value}"\n`
  const lines = (snapshot: Snapshot, suffix: string): string[] => {
    const isCurrent = snapshot.uuid === machine.currentSnapshot
    const about = [
      raw('CurrentSnapshotName', snapshot.name),
      line('CurrentSnapshotUUID', snapshot.uuid),
      line('CurrentSnapshotNode', `SnapshotName${suffix}`),
    ]
    return [
      raw(`SnapshotName${suffix}`, snapshot.name),
      line(`SnapshotUUID${suffix}`, snapshot.uuid),
      ...(snapshot.description === '' ? [] : [raw(`SnapshotDescription${suffix}`, snapshot.description)]),
      ...(isCurrent ? about : []),
      ...snapshot.children.flatMap((child, index) => lines(child, `${suffix}-${index + 1}`)),
    ]
  }
  return machine.rootSnapshot === undefined ? [] : lines(machine.rootSnapshot, '')
}

function guestLines({ hardware }: Machine, { stateChange }: Session): string[] {
  return [
    line('GuestOSType', hardware.osType),
    line('GuestAdditionsRunLevel', 0),
    `GuestAdditionsFacility_Seamless Mode=0,${stateChange}\n`,
  ]
}
