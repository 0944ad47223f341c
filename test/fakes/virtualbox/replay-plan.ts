/** The events between the recorded calls: unrecorded commands, and the work of other programs. */
export interface Between {
  readonly commands?: readonly string[]
  /** Files of the host: their sizes in bytes, or their text; undefined removes a file. */
  readonly files?: Readonly<Record<string, number | string | undefined>>
  readonly folders?: readonly string[]
  readonly interface?: { readonly name: string; readonly address: string; readonly mask: string }
  /** Machines whose process another program killed, or whose guest switched itself off. */
  readonly killed?: readonly string[]
  readonly ended?: readonly string[]
  /** Files that another program copies. */
  readonly copies?: Readonly<Record<string, string>>
  /** Ports of the host that another program holds from then on. */
  readonly taken?: readonly number[]
  /** A call that is made while the recorded call waits. */
  readonly meanwhile?: string
}

/** Transcripts that are not replayed, with the reasons. */
export const leftOut: Readonly<Record<string, string>> = {
  ...because('the plain form of a machine, which is for people', [
    '111-list-vms-long',
    '117-showvminfo-human',
    '456-snapshot-showvminfo',
  ]),
  ...because('DHCP servers of VirtualBox: no provider asks for them', [
    '012-list-dhcpservers',
    '530-dhcpserver-list',
    '531-dhcpserver-add',
    '532-dhcpserver-add-ifname',
    '533-dhcpserver-findlease-none',
    '534-dhcpserver-list-after',
    '535-dhcpserver-remove',
    '860-D-list-dhcpservers',
    '861-D-dhcpserver-add-if',
  ]),
  ...because('appliances: no provider exports or imports', [
    '600-export-ova',
    '601-export-exists',
    '605-export-tiny-ova',
    '606-import-dryrun',
    '607-import',
    '608-import-again-same-name',
    '609-import-missing',
    '610-import-not-an-ova',
    '611-import-simple-options',
  ]),
  ...because('the driverless mode itself, which only those recordings had', [
    '902-R-startvm-hostonly-no-netflt-driver',
    '904-R-startvm-engine-default-driverless',
    '905-R-startvm-intnet-driverless',
    '906-R-startvm-natnetwork-driverless',
  ]),
  ...because('a program other than VBoxManage', ['547-vboxheadless-direct']),
  ...because('the guest additions of a guest', ['873-G-showvminfo-running-with-additions']),
  ...because('the screen of a guest, whose mode depends on how far it booted', [
    '888-R-showvminfo-natpf-hostport-in-use',
  ]),
  ...because('a service of the same user that keeps another home', ['916-vbox-user-home']),
}

function because(why: string, names: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name) => [name, why]))
}

/** Transcripts with small numbers that were recorded last. Earlier lists do not contain their machines. */
export const recordedLast = [/^26[1-5]-/, /^36[0-9]-/]

/** Transcripts after a restart of VirtualBox's service, when `localhostReachable` always reads 1. */
export const afterRestart = [...['261', '265', '545', '802', '815', '818', '824', '831', '859', '896']]

const guestProperties = [
  ['GuestAdd/Revision', '175245'],
  ['GuestAdd/Version', '7.2.22'],
  ['GuestAdd/VersionExt', '7.2.22_Debian'],
  ['GuestInfo/Net/0/MAC', '0800274C6411', 'TRANSIENT,\\ TRANSRESET'],
  ['GuestInfo/Net/0/Name', 'eth0', 'TRANSIENT,\\ TRANSRESET'],
  ['GuestInfo/Net/0/Status', 'Up', 'TRANSIENT,\\ TRANSRESET'],
  ['GuestInfo/Net/0/V4/Broadcast', '0.0.0.0', 'TRANSIENT,\\ TRANSRESET'],
  ['GuestInfo/Net/0/V4/IP', '10.0.2.15', 'TRANSIENT,\\ TRANSRESET'],
  ['GuestInfo/Net/0/V4/Netmask', '255.255.255.0', 'TRANSIENT,\\ TRANSRESET'],
  ['GuestInfo/Net/Count', '1', 'TRANSIENT,\\ TRANSRESET'],
  ['GuestInfo/OS/LoggedInUsers', '0', 'TRANSIENT,\\ TRANSRESET'],
  ['GuestInfo/OS/LoggedInUsersList', "''", 'TRANSIENT,\\ TRANSRESET'],
  ['GuestInfo/OS/NoLoggedInUsers', 'true', 'TRANSIENT,\\ TRANSRESET'],
  ['GuestInfo/OS/Product', 'Linux'],
  ['GuestInfo/OS/Release', '7.2.13+deb14-amd64'],
  ['GuestInfo/OS/ServicePack', "''"],
  ['GuestInfo/OS/Version', "'#1 SMP PREEMPT_DYNAMIC Debian 7.2.13-1 (2026-10-28)'"],
  ['VMInfo/ResumeCounter', '0', 'TRANSIENT,\\ RDONLYGUEST'],
] as const

const diskOnly = '--boot1 disk --boot2 none --boot3 none --boot4 none'

/** The events right before a transcript, by its number. */
export const before: Readonly<Record<string, Between>> = {
  '329': { files: { '/srv/guest.iso': 30_257_152 } },
  '439': {
    meanwhile: 'VBoxManage guestproperty set nx-web /VirtualBox/GuestInfo/Net/0/V4/IP 10.0.2.15',
  },
  '500': { folders: ['/srv/share'] },
  '612': {
    commands: [
      'VBoxManage createvm --name tiny-imp --ostype Linux_64 --register --basefolder /srv/vms',
      'VBoxManage createvm --name tiny-keep --ostype Linux_64 --register --basefolder /srv/vms',
    ],
  },
  '720': {
    files: { '/srv/vms/x.iso': 30_257_152, '/srv/vms/y.iso': 30_257_152 },
    commands: ['del1', 'del2', 'sh1', 'sh2']
      .flatMap((name) => [
        `VBoxManage createvm --name ${name} --ostype Linux_64 --register --basefolder /srv/vms`,
        `VBoxManage storagectl ${name} --name SATA --add sata --portcount 4`,
      ])
      .concat(
        ['x del1', 'y del2'].map((pair) => {
          const [iso, name] = pair.split(' ')
          return `VBoxManage storageattach ${name} --storagectl SATA --port 1 --device 0 --type dvddrive --medium /srv/vms/${iso}.iso`
        }),
        'VBoxManage createmedium disk --filename /srv/vms/shared.vdi --size 4',
        ...['sh1', 'sh2'].map(
          (name) =>
            `VBoxManage storageattach ${name} --storagectl SATA --port 0 --device 0 --type hdd --medium /srv/vms/shared.vdi`,
        ),
      ),
  },
  '800': {
    commands: [
      'VBoxManage unregistervm sh2 --delete',
      'VBoxManage createvm --name run1 --ostype Linux_64 --register --basefolder /srv/vms',
      `VBoxManage modifyvm run1 --memory 64 ${diskOnly} --uart1 0x3F8 4 --uartmode1 file /srv/vms/run1-console.log --audio-driver null --natpf1 ssh\\,tcp\\,127.0.0.1\\,2222\\,\\,22`,
    ],
  },
  '850': { interface: { name: 'vboxnet0', address: '192.168.56.1', mask: '255.255.255.0' } },
  '855': { files: { '/etc/vbox/networks.conf': '# allowed\n* 10.99.0.0/16 192.168.56.0/21\n' } },
  '857': {
    commands: ['VBoxManage hostonlyif ipconfig vboxnet0 --ip 10.99.0.1 --netmask 255.255.255.0'],
  },
  '862': { files: { '/etc/vbox/networks.conf': '* 10.99.0.0/16\n' } },
  '870': {
    commands: [
      'VBoxManage controlvm run1 poweroff',
      'VBoxManage createvm --name guest1 --ostype Linux_64 --register --basefolder /srv/vms',
      `VBoxManage modifyvm guest1 --memory 512 ${diskOnly} --nictype1 virtio --macaddress1 0800274C6411 --uart1 0x3F8 4 --uartmode1 file /srv/vms/guest1-console.log --audio-driver null --natpf1 ssh\\,tcp\\,127.0.0.1\\,2244\\,\\,22`,
      'VBoxManage storagectl guest1 --name SATA --add sata --portcount 2',
      'VBoxManage storageattach guest1 --storagectl SATA --port 0 --device 0 --type hdd --medium /srv/vms/guest.vdi',
      'VBoxManage startvm guest1 --type headless',
      ...guestProperties.map(
        ([name, value, flags]) =>
          `VBoxManage guestproperty set guest1 /VirtualBox/${name} ${value}${flags === undefined ? '' : ` --flags ${flags}`}`,
      ),
    ],
  },
  '880': { ended: ['guest1'] },
  '887': { taken: [2222] },
  '891': {
    commands: [
      'VBoxManage createvm --name run2 --ostype Linux_64 --register --basefolder /srv/vms',
      'VBoxManage modifyvm run2 --memory 64 --audio-driver null --natpf1 ssh\\,tcp\\,127.0.0.1\\,2222\\,\\,22',
      'VBoxManage startvm run1 --type headless',
    ],
  },
  '893': { killed: ['run2'] },
  '900': {
    commands: [
      'VBoxManage controlvm run2 poweroff',
      'VBoxManage controlvm run1 poweroff',
      'VBoxManage createvm --name run3 --ostype Linux_64 --register --basefolder /srv/vms',
      'VBoxManage modifyvm run3 --memory 64 --audio-driver null --nic2 hostonly --hostonlyadapter2 vboxnet9',
    ],
  },
  '903': { commands: ['VBoxManage modifyvm run3 --nic2 none --cpus 2'] },
  '910': {
    commands: ['VBoxManage controlvm run3 poweroff'],
    files: { '/srv/vms/nx-noos/nx-noos.vbox': undefined },
  },
  '261': {
    commands: [
      'VBoxManage createvm --name lh --ostype Linux_64 --register --basefolder /srv/vms',
      'VBoxManage modifyvm lh --memory 64 --nat-localhostreachable1 off',
    ],
  },
  '262': {
    commands: ['VBoxManage createvm --name q\\"uote --ostype Linux_64 --register --basefolder /srv/vms'],
  },
  '265': { commands: ["VBoxManage modifyvm lh --description 'back\\slash end\\'"] },
  '360': {
    commands: [
      'VBoxManage createvm --name uu --ostype Linux_64 --register --basefolder /srv/vms',
      'VBoxManage storagectl uu --name SATA --add sata --portcount 8',
      'VBoxManage createmedium disk --filename /srv/vms/u1.vdi --size 4',
      'VBoxManage storageattach uu --storagectl SATA --port 0 --device 0 --type hdd --medium /srv/vms/u1.vdi',
    ],
    copies: { '/srv/vms/u1.vdi': '/srv/vms/u2.vdi' },
  },
  '367': { files: { '/srv/vms/u1.vdi': undefined } },
}

/** Tells whether the host of a transcript had the driver, or another file in the driver's place. */
export function hadDriver(name: string): boolean {
  return /-[RGD]-/.test(name) || name.startsWith('368-')
}
