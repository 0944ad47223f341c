import { createServer } from 'node:net'
import { failure, usageError } from '../../src/core/errors.js'
import type { AllocationRequest } from '../../src/core/provider.js'
import { type LibvirtAllocation, type LibvirtConfig, portOption } from './config.js'
import { deploymentLan, macAddress, preferredPort } from './names.js'

type Request = AllocationRequest<LibvirtConfig, LibvirtAllocation>

/** First port of our range, below the kernel's range for outgoing connections. */
const firstPort = 20_000
const portCount = 10_000

/** Size of a /24 without its first and last address. */
const mostMachines = 254

export async function allocate(request: Request): Promise<LibvirtAllocation> {
  const { config, known } = request
  refuseForeignForwards(request)
  const forwardPorts = config.forwardPorts.map(
    ({ host, guest }) =>
      known?.forwardPorts.find((moved) => moved.asked === host && moved.guest === guest) ?? { host, guest },
  )
  const avoid = new Set([...request.takenPorts, ...forwardPorts.map(({ host }) => host)])
  const others = new Set([...request.siblings.values()].flatMap((each) => [each.mac, ...each.nics]))
  const mac = known?.mac ?? freeMac(request, 'management', others)
  return {
    mac,
    nics: config.networks.map((_, nic) => known?.nics[nic] ?? freeMac(request, String(nic), others.add(mac))),
    sshPort:
      known !== undefined && !avoid.has(known.sshPort)
        ? known.sshPort
        : await freePort(avoid, preferredPort(request.deployment, request.machine, firstPort, portCount)),
    forwardPorts,
    lan: config.networks.includes('lan') ? lanOf(request) : null,
  }
}

/** Refuses a port of a machine in another deployment; the engine checks machines of the same deployment. */
function refuseForeignForwards({ config, machine, siblings, takenPorts }: Request): void {
  const ours = new Set([...siblings.values()].flatMap(ports))
  const clash = config.forwardPorts.find(({ host }) => takenPorts.has(host) && !ours.has(host))
  if (clash === undefined) return
  throw usageError(`machine '${machine}' wants port ${clash.host} of this host; another deployment has it`, {
    machine,
    hint: `give it another host port in ${portOption}; who has it: hydra-ops info --all`,
  })
}

function freeMac(request: Request, nic: string, others: ReadonlySet<string>): string {
  for (let attempt = 0; ; attempt += 1) {
    const mac = macAddress(request.deployment, request.machine, nic, attempt)
    if (!others.has(mac)) return mac
  }
}

function lanOf({ deployment, machine, index }: Request): NonNullable<LibvirtAllocation['lan']> {
  if (index > mostMachines) {
    throw usageError(`machine '${machine}' is number ${index}; a LAN has room for ${mostMachines}`, {
      machine,
      hint: 'leave "lan" out of its deployment.libvirtd.networks, or make a second deployment',
    })
  }
  const { group, port, prefix } = deploymentLan(deployment)
  return { address: `${prefix}.${index}`, group, port }
}

/** Lists the loopback TCP ports of the operator host in an allocation. */
export function ports(allocation: LibvirtAllocation): number[] {
  return [allocation.sshPort, ...allocation.forwardPorts.map(({ host }) => host)]
}

/** Finds a free port of our range from `start` on; a `start` outside the range also works. */
export async function freePort(avoid: ReadonlySet<number>, start: number): Promise<number> {
  for (let step = 0; step < portCount; step += 1) {
    const port = firstPort + ((((start - firstPort + step) % portCount) + portCount) % portCount)
    if (!avoid.has(port) && (await isFree(port))) return port
  }
  throw failure('PORTS', `no free port on 127.0.0.1 between ${firstPort} and ${firstPort + portCount - 1}`)
}

/** Tells whether a server can listen on this port of 127.0.0.1. */
export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({ host: '127.0.0.1', port, exclusive: true }, () => server.close(() => resolve(true)))
  })
}

/** URL schemes of ports whose usual service does not speak HTTP. */
const schemes: ReadonlyMap<number, string> = new Map([
  [22, 'ssh'],
  [25, 'smtp'],
  [443, 'https'],
  [3306, 'mysql'],
  [5432, 'postgresql'],
  [6379, 'redis'],
  [8443, 'https'],
])

export function publishedPort(
  allocation: LibvirtAllocation,
  port: number,
): { host: string; port: number } | undefined {
  const found = allocation.forwardPorts.find(({ guest }) => guest === port)
  return found === undefined ? undefined : { host: '127.0.0.1', port: found.host }
}

export function publishedUrls(allocation: LibvirtAllocation): string[] {
  return allocation.forwardPorts.map(({ host, guest }) => {
    const scheme = schemes.get(guest) ?? 'http'
    return `${scheme}://127.0.0.1:${host}${scheme.startsWith('http') ? '/' : ''}`
  })
}
