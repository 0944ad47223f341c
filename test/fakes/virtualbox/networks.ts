import { existsSync, readFileSync } from 'node:fs'
import { isIPv4 } from 'node:net'
import {
  type Answer,
  answer,
  contextLine,
  errorLine,
  failedTask,
  type Place,
  Refusal,
  refusal,
  told,
  unknown,
} from './answer.js'
import type { Call } from './call.js'
import type { HostInterface, NatNetwork } from './model.js'

const file = 'VBoxManageHostonly.cpp'

/** Implements `list hostonlyifs`. */
export function hostInterfaces(call: Call): string {
  return call.store.registry.interfaces
    .map(({ name, address, mask, up }) =>
      [
        `Name:            ${name}`,
        'GUID:            f0000153-dae8-4abf-8000-eaccc19b0f6a',
        'DHCP:            Disabled',
        `IPAddress:       ${address}`,
        `NetworkMask:     ${mask}`,
        'IPV6Address:     ',
        'IPV6NetworkMaskPrefixLength: 0',
        'HardwareAddress: ea:cc:c1:9b:0f:6a',
        'MediumType:      Ethernet',
        'Wireless:        No',
        `Status:          ${up ? 'Up' : 'Down'}`,
        `VBoxNetworkName: HostInterfaceNetworking-${name}`,
      ]
        .map((line) => `${line}\n`)
        .join('')
        .concat('\n'),
    )
    .join('')
}

/** Implements `hostonlyif create | remove NAME | ipconfig NAME --ip A --netmask M`. */
export function hostOnlyInterface(call: Call): Answer {
  const verb = call.words.next()
  if (verb === 'create') return createInterface(call)
  const name = call.words.next()
  if (name === undefined) throw unknown('hostonlyif without an interface')
  if (verb === 'remove') {
    const found = findInterface(call, name, 150)
    const { registry } = call.store
    registry.interfaces = registry.interfaces.filter((each) => each !== found)
    call.store.saveRegistry()
    return answer('', '0%...10%...20%...30%...40%...50%...60%...70%...80%...90%...100%\n')
  }
  if (verb !== 'ipconfig') throw unknown(`hostonlyif ${verb}`)
  const given: Record<string, string> = {}
  for (let word = call.words.next(); word !== undefined; word = call.words.next()) {
    if (word !== '--ip' && word !== '--netmask') throw unknown(`hostonlyif ipconfig ${word}`)
    given[word] = call.words.value() ?? ''
  }
  const { '--ip': address, '--netmask': mask } = given
  if (address === undefined || mask === undefined)
    throw unknown('hostonlyif ipconfig without --ip and --netmask')
  const found = findInterface(call, name, 242)
  if (!allowedRanges(call.settings.networksConf).some((range) => contains(range, address))) {
    throw new Refusal(
      errorLine('Code E_ACCESSDENIED (0x80070005) - Access denied (extended info not available)') +
        contextLine(['EnableStaticIPConfig(Bstr(pszIp).raw(), Bstr(pszNetmask).raw())', 252, file]),
    )
  }
  Object.assign(found, { address, mask, up: true })
  call.store.saveRegistry()
  return answer()
}

function createInterface(call: Call): Answer {
  if (call.settings.driver) throw unknown('hostonlyif create with the driver')
  const causes = told(
    'VBoxNetAdpCtl: Error while adding new interface: failed to open /dev/vboxnetctl: No such file or directory',
    { code: 'NS_ERROR_FAILURE', component: 'HostNetworkInterfaceWrap', called: false },
  )
  const place: Place = ['RTEXITCODE handleCreate(HandlerArg*)', 105, file]
  throw new Refusal(failedTask('NS_ERROR_FAILURE', 'Failed to create the host-only adapter', causes, place))
}

function findInterface(call: Call, name: string, line: number): HostInterface {
  const found = call.store.registry.interfaces.find((each) => each.name === name)
  if (found !== undefined) return found
  throw refusal(
    `The host network interface named '${name}' could not be found`,
    { code: 'NS_ERROR_INVALID_ARG', component: 'HostWrap' },
    ['FindHostNetworkInterfaceByName(Bstr(pszName).raw(), hif.asOutParam())', line, file],
  )
}

/** Returns the ranges of `/etc/vbox/networks.conf`, or the default range if the file is missing. */
function allowedRanges(networksConf: string): string[] {
  if (!existsSync(networksConf)) return ['192.168.56.0/21']
  const lines = readFileSync(networksConf, 'utf8').split('\n')
  return lines.filter((line) => line.startsWith('*')).flatMap((line) => line.slice(1).trim().split(/\s+/))
}

function contains(range: string, address: string): boolean {
  const [network = '', bits = ''] = range.split('/')
  if (!isIPv4(network) || !isIPv4(address)) return false
  const size = 2 ** (32 - Number(bits))
  return Math.floor(asNumber(network) / size) === Math.floor(asNumber(address) / size)
}

function asNumber(address: string): number {
  return address.split('.').reduce((all, part) => all * 256 + Number(part), 0)
}

const natExists = new Refusal(errorLine('NATNetwork server already exists'), 2)
const natMissing = new Refusal(errorLine('NATNetwork server does not exist'), 2)

/** Implements `natnetwork add|modify|remove|start|stop --netname NAME …` and `natnetwork list`. */
export function natNetwork(call: Call): Answer {
  const verb = call.words.next()
  if (verb === 'list') return answer(natNetworkTable(call))
  const given: Record<string, string> = {}
  for (let word = call.words.next(); word !== undefined; word = call.words.next()) {
    if (word === '--enable' || word === '--disable') given[word] = ''
    else if (['--netname', '--network', '--dhcp', '--port-forward-4'].includes(word)) {
      given[word] = call.words.value() ?? ''
    } else throw unknown(`natnetwork ${verb} ${word}`)
  }
  const name = given['--netname']
  if (name === undefined) throw unknown('natnetwork without --netname')
  const { registry } = call.store
  const found = registry.natNetworks.find((each) => each.name === name)
  if (verb === 'add') {
    if (found !== undefined) throw natExists
    const network = given['--network']
    if (network === undefined) throw unknown('natnetwork add without --network')
    const fresh: NatNetwork = { name, network, enabled: true, dhcp: true, rules: [] }
    registry.natNetworks.push(fresh)
    change(fresh, given)
  } else {
    if (found === undefined) throw natMissing
    if (verb === 'modify') change(found, given)
    else if (verb === 'remove') registry.natNetworks = registry.natNetworks.filter((each) => each !== found)
    else if (verb !== 'start' && verb !== 'stop') throw unknown(`natnetwork ${verb}`)
  }
  call.store.saveRegistry()
  return answer()
}

function change(network: NatNetwork, given: Readonly<Record<string, string>>): void {
  if (given['--enable'] !== undefined) network.enabled = true
  if (given['--disable'] !== undefined) network.enabled = false
  if (given['--network'] !== undefined) network.network = given['--network']
  if (given['--dhcp'] !== undefined) network.dhcp = given['--dhcp'] === 'on'
  if (given['--port-forward-4'] !== undefined) network.rules.push(given['--port-forward-4'])
}

function facts({ name, network, dhcp }: NatNetwork, enabled: string): string {
  const gateway = network.replace(/[0-9]+\/[0-9]+$/, '1')
  return `Name:         ${name}
${enabled}Network:      ${network}
Gateway:      ${gateway}
DHCP Server:  ${dhcp ? 'Yes' : 'No'}
IPv6:         No
IPv6 Prefix:  fd17:625c:f037:2::/64
IPv6 Default: No
`
}

function natNetworkTable(call: Call): string {
  const { natNetworks: networks } = call.store.registry
  const each = networks.map((network) => {
    const rules = network.rules.map((rule) => `        ${rule}\n`).join('')
    const head = facts(network, `Enabled:      ${network.enabled ? 'Yes' : 'No'}\n`)
    const forwarding = rules === '' ? '' : `Port-forwarding (ipv4)\n${rules}`
    return `${head}${forwarding}loopback mappings (ipv4)\n        127.0.0.1=2\n\n`
  })
  return `NAT Networks:\n\n${each.join('')}${networks.length} network${networks.length === 1 ? '' : 's'} found\n`
}

/** Implements `list natnets`. */
export function natNetworks(call: Call): string {
  return call.store.registry.natNetworks.map((network) => `${facts(network, '')}\n`).join('')
}
