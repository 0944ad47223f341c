/** A NAT rule: `name,tcp,127.0.0.1,2222,,22`. */
export interface Rule {
  readonly name: string
  readonly protocol: string
  readonly hostAddress: string
  readonly hostPort: number
  readonly guestAddress: string
  readonly guestPort: number
}

export interface Nic {
  attachment: string
  mac: string
  cable: boolean
  type: string
  /** The subnet of NAT; `nat` = the default subnet. */
  subnet: string
  hostOnlyAdapter: string
  bridgeAdapter: string
  internalNetwork: string
  natNetwork: string
  localhostReachable: boolean
  rules: Rule[]
}

/** The content of a slot of a storage controller. */
export interface Slot {
  readonly kind: 'hdd' | 'dvddrive'
  /** The medium's UUID; undefined for an empty drive. */
  medium: string | undefined
}

export interface Controller {
  name: string
  readonly bus: string
  readonly type: string
  portCount: number
  bootable: boolean
  hostIoCache: boolean
  /** The slots, by `port-device`. */
  slots: Record<string, Slot>
}

export interface Uart {
  base: string
  irq: string
  mode: string
}

export interface SharedFolder {
  readonly name: string
  readonly hostPath: string
  readonly writable: boolean
  readonly autoMount: boolean
}

export interface Property {
  value: string
  /** Milliseconds since 1970. */
  time: number
  flags: string
}

/** The part of a machine that a snapshot saves and restores. */
export interface Hardware {
  /** The values of `showvminfo` that are single words, by their keys. */
  values: Record<string, string | number>
  osType: string
  description: string
  nics: Nic[]
  uarts: (Uart | null)[]
  controllers: Controller[]
  sharedFolders: SharedFolder[]
  properties: Record<string, Property>
  engine: string
}

export interface Snapshot {
  readonly uuid: string
  name: string
  description: string
  readonly taken: number
  readonly hardware: Hardware
  /** The file with the memory, if the machine was running. */
  stateFile: string | undefined
  children: Snapshot[]
}

export type OfflineState = 'poweroff' | 'saved' | 'aborted' | 'aborted-saved'
export type OnlineState = 'running' | 'paused' | 'starting' | 'stopping' | 'gurumeditation'
export type MachineState = OfflineState | OnlineState

export interface Machine {
  readonly uuid: string
  name: string
  group: string
  cfgFile: string
  state: OfflineState
  /** Milliseconds since 1970. */
  stateChange: number
  stateFile: string | undefined
  hardware: Hardware
  extraData: Record<string, string>
  rootSnapshot: Snapshot | undefined
  currentSnapshot: string | undefined
  /** The media that the machine uses. Only the settings file lists these media while the machine is unregistered. */
  media: Medium[]
}

export interface Medium {
  uuid: string
  path: string
  readonly device: 'hdd' | 'dvd'
  readonly format: string
  readonly parent: string | undefined
  readonly variant: string
  bytes: number
  description: string
  multiAttach: boolean
  /** Whether snapshots exclude the medium. */
  writeThrough: boolean
}

/** The facts of a machine while it is online. */
export interface Session {
  state: OnlineState
  stateChange: number
  /** Whether the machine was started from a saved state. */
  resumed: boolean
  /** Whether the start is still under way. Other calls see `true` only if the starting call was killed. */
  launching: boolean
}

export interface HostInterface {
  readonly name: string
  address: string
  mask: string
  up: boolean
}

export interface NatNetwork {
  readonly name: string
  network: string
  enabled: boolean
  dhcp: boolean
  readonly rules: string[]
}

export interface Registry {
  machines: { readonly uuid: string; readonly cfgFile: string }[]
  media: Medium[]
  extraData: Record<string, string>
  interfaces: HostInterface[]
  natNetworks: NatNetwork[]
}

/** Returns the settings of a machine that `createvm` has just created. */
export function freshHardware(osType: string, mac: () => string): Hardware {
  return {
    values: {
      memory: 1024,
      pagefusion: 'off',
      vram: 8,
      cpuexecutioncap: 100,
      'cpu-profile': 'host',
      chipset: 'piix3',
      firmware: 'BIOS',
      cpus: 1,
      hpet: 'off',
      pae: 'on',
      longmode: 'on',
      triplefaultreset: 'off',
      apic: 'on',
      x2apic: 'on',
      'nested-hw-virt': 'off',
      hwvirtex: 'on',
      nestedpaging: 'on',
      largepages: 'off',
      vtxvpid: 'on',
      vtxux: 'on',
      virtvmsavevmload: 'on',
      'cpuid-portability-level': 0,
      bootmenu: 'messageandmenu',
      boot1: 'floppy',
      boot2: 'dvd',
      boot3: 'disk',
      boot4: 'none',
      acpi: 'on',
      ioapic: 'on',
      biosapic: 'apic',
      biossystemtimeoffset: 0,
      rtcuseutc: 'on',
      iommu: 'none',
      paravirtprovider: 'default',
      graphicscontroller: 'vboxvga',
      monitorcount: 1,
      accelerate3d: 'off',
      defaultfrontend: '',
      vmprocpriority: 'default',
      hidpointing: 'ps2mouse',
      hidkeyboard: 'ps2kbd',
      audio: 'default',
      audio_out: 'off',
      audio_in: 'off',
      clipboard: 'disabled',
      draganddrop: 'disabled',
      vrde: 'off',
      usb: 'off',
      ehci: 'off',
      xhci: 'off',
    },
    osType,
    description: '',
    nics: Array.from({ length: 8 }, (_, index) => freshNic(index === 0 ? 'nat' : 'none', mac())),
    uarts: [null, null, null, null],
    controllers: [],
    sharedFolders: [],
    properties: {},
    engine: 'default',
  }
}

function freshNic(attachment: string, mac: string): Nic {
  return {
    attachment,
    mac,
    cable: true,
    type: '82540EM',
    subnet: 'nat',
    hostOnlyAdapter: '',
    bridgeAdapter: '',
    internalNetwork: 'intnet',
    natNetwork: '',
    localhostReachable: false,
    rules: [],
  }
}

/** Creates a controller for a bus; returns undefined for a bus or a type without a transcript. */
export function freshController(name: string, bus: string, type: string | undefined): Controller | undefined {
  const kind = { sata: 'IntelAhci', ide: 'PIIX4', virtio: 'VirtioSCSI' }[bus]
  const wanted = type === undefined ? kind : type === 'VirtIO' ? 'VirtioSCSI' : type
  if (kind === undefined || wanted !== kind) return undefined
  const portCount = { sata: 30, ide: 2, virtio: 16 }[bus] ?? 1
  return { name, bus, type: kind, portCount, bootable: true, hostIoCache: false, slots: {} }
}

/** The number of ports that a controller of a bus may have. */
export const maxPorts: Readonly<Record<string, number>> = { sata: 30, ide: 2, virtio: 256 }

/** Returns the number of devices that a port of a bus has. */
export function devicesPerPort(bus: string): number {
  return bus === 'ide' ? 2 : 1
}

/** Lists a snapshot and all snapshots below it, parents first. */
export function allSnapshots(root: Snapshot | undefined): Snapshot[] {
  return root === undefined ? [] : [root, ...root.children.flatMap(allSnapshots)]
}

/** Lists the media in all slots of the hardware. */
export function attachedMedia(hardware: Hardware): string[] {
  return hardware.controllers.flatMap(({ slots }) =>
    Object.values(slots).flatMap(({ medium }) => medium ?? []),
  )
}
