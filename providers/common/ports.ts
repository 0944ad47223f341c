import { createServer } from 'node:net'
import * as z from 'zod'
import { failure, type OpsError, usageError } from '../../src/core/errors.js'
import { documented, shownAs } from '../../src/core/option-docs.js'
import type { AllocationRequest } from '../../src/core/provider.js'
import type { Run } from '../../src/core/run.js'
import type { DerivedNames } from './names.js'

/** First port of hydra-ops's range, below the kernel's range for outgoing connections. */
const firstPort = 20_000
const portCount = 10_000
const sshGuestPort = 22

export const portNumber = shownAs('port', z.number().int().min(1).max(65535))

/** The option that publishes TCP ports of the guest on this host. */
export const forwardOption = documented(
  z
    .array(
      z.strictObject({
        host: documented(portNumber, 'port on 127.0.0.1 of this host', 8080),
        guest: documented(portNumber, 'port of the guest', 80),
        proto: documented(z.literal('tcp').default('tcp'), 'protocol of the port', 'tcp'),
      }),
    )
    .refine((all) => new Set(all.map(({ host }) => host)).size === all.length, 'the same host port twice')
    .default([]),
  'TCP ports of the guest that this host publishes on 127.0.0.1; `info` shows the URLs',
  [{ host: 8080, guest: 80 }],
)

/** A TCP port of the host that is forwarded to a port of the guest. */
export interface Forward {
  readonly host: number
  readonly guest: number
}

/** The loopback ports of a machine. */
export interface PortAllocation {
  readonly sshPort: number
  readonly forwardPorts: readonly (Forward & { readonly asked?: number | undefined })[]
}

/** The fields for ports in the schema of an allocation. */
export const portsShape = {
  /** Port for ssh on 127.0.0.1 of the operator host. */
  sshPort: portNumber,
  /** `asked` is the host port that the user chose, if another program used that port. */
  forwardPorts: z.array(z.object({ host: portNumber, guest: portNumber, asked: portNumber.optional() })),
}

/** The user's forwards, and the name of the provider's option for them. */
export interface WantedPorts {
  readonly forwards: readonly Forward[]
  readonly option: string
}

type Request = Pick<
  AllocationRequest<unknown, PortAllocation>,
  'deployment' | 'machine' | 'known' | 'takenPorts' | 'siblings'
>

/** Chooses the machine's loopback ports. Existing ports are kept if they are still suitable. */
export async function allocatePorts(
  request: Request,
  { forwards, option }: WantedPorts,
  names: Pick<DerivedNames, 'preferredPort'>,
): Promise<z.infer<z.ZodObject<typeof portsShape>>> {
  const { known } = request
  refuseForeignForwards(request, { forwards, option })
  const forwardPorts = forwards.map(
    ({ host, guest }) =>
      known?.forwardPorts.find((moved) => moved.asked === host && moved.guest === guest) ?? { host, guest },
  )
  const avoid = new Set([...request.takenPorts, ...forwardPorts.map(({ host }) => host)])
  const sshPort =
    known !== undefined && !avoid.has(known.sshPort)
      ? known.sshPort
      : await freePort(avoid, names.preferredPort(request.deployment, request.machine, firstPort, portCount))
  return { sshPort, forwardPorts }
}

/** Refuses a port of a machine in another deployment; the engine checks machines of the same deployment. */
function refuseForeignForwards(
  { machine, siblings, takenPorts }: Request,
  { forwards, option }: WantedPorts,
): void {
  const ours = new Set([...siblings.values()].flatMap(ports))
  const clash = forwards.find(({ host }) => takenPorts.has(host) && !ours.has(host))
  if (clash === undefined) return
  throw usageError(
    `machine '${machine}' requests port ${clash.host} of this host, but another deployment uses that port`,
    {
      machine,
      hint: `choose another port in ${option}; hydra-ops info --all lists the ports in use`,
    },
  )
}

/** Lists the TCP ports of an allocation on the operator host's loopback. */
export function ports(allocation: PortAllocation): number[] {
  return [allocation.sshPort, ...allocation.forwardPorts.map(({ host }) => host)]
}

/** Lists the forward for ssh first, then the user's forwards. */
export function forwardsOf(allocation: PortAllocation): Forward[] {
  const asked = allocation.forwardPorts.map(({ host, guest }) => ({ host, guest }))
  return [{ host: allocation.sshPort, guest: sshGuestPort }, ...asked]
}

/** Lists the forwards to remove and to add for a change from one list to the other. */
export function forwardChanges(
  from: readonly Forward[],
  to: readonly Forward[],
): { removed: Forward[]; added: Forward[] } {
  const key = ({ host, guest }: Forward) => `${host}:${guest}`
  const had = new Set(from.map(key))
  const wanted = new Set(to.map(key))
  return {
    removed: from.filter((forward) => !wanted.has(key(forward))),
    added: to.filter((forward) => !had.has(key(forward))),
  }
}

/** Finds a free port of hydra-ops's range from `start` on; a `start` outside the range also works. */
export async function freePort(avoid: ReadonlySet<number>, start: number): Promise<number> {
  for (let step = 0; step < portCount; step += 1) {
    const port = firstPort + ((((start - firstPort + step) % portCount) + portCount) % portCount)
    if (!avoid.has(port) && (await isFree(port))) return port
  }
  throw failure(
    'PORTS',
    `there is no free port on 127.0.0.1 between ${firstPort} and ${firstPort + portCount - 1}`,
  )
}

/** Tells whether a server can listen on this port of 127.0.0.1. */
export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({ host: '127.0.0.1', port, exclusive: true }, () => server.close(() => resolve(true)))
  })
}

/** Ports that a machine must not use at this start. */
export interface UnusablePorts {
  /** Ports that failed at an earlier attempt. */
  readonly refused: ReadonlySet<number>
  /** Ports of other machines. */
  readonly taken: ReadonlySet<number>
}

/** Returns the allocation itself if all its ports are free, or a copy with other ports. */
export async function withFreePorts<Allocation extends PortAllocation>(
  allocation: Allocation,
  { refused, taken }: UnusablePorts,
  run: Run,
): Promise<Allocation> {
  const avoid = new Set([...refused, ...taken, ...ports(allocation)])
  let moved = false
  const free = async (port: number, what: string): Promise<number> => {
    if (!refused.has(port) && (await isFree(port))) return port
    const other = await freePort(avoid, port + 1)
    avoid.add(other)
    moved = true
    run.log(`another program holds port ${port} of 127.0.0.1; ${what} uses port ${other} from now on`)
    return other
  }
  const sshPort = await free(allocation.sshPort, 'ssh')
  const forwardPorts: PortAllocation['forwardPorts'][number][] = []
  for (const forward of allocation.forwardPorts) {
    const host = await free(forward.host, `port ${forward.guest} of the guest`)
    forwardPorts.push(
      host === forward.host ? forward : { ...forward, host, asked: forward.asked ?? forward.host },
    )
  }
  return moved ? { ...allocation, sshPort, forwardPorts } : allocation
}

/** Number of attempts when other programs take ports between the check and the start. */
const startAttempts = 5

/**
 * Starts a machine with free ports. `start` returns the ports that other programs took meanwhile; the next
 * attempt avoids these ports. `isLast` tells `start` that no attempt follows, so that it throws instead.
 */
export async function startWithFreePorts<Allocation extends PortAllocation>(
  first: Allocation,
  takenPorts: () => Promise<ReadonlySet<number>>,
  start: (allocation: Allocation, isLast: boolean) => Promise<readonly number[]>,
  run: Run,
): Promise<Allocation> {
  const refused = new Set<number>()
  let allocation = first
  for (let attempt = 1; ; attempt += 1) {
    allocation = await withFreePorts(allocation, { refused, taken: await takenPorts() }, run)
    const lost = await start(allocation, attempt === startAttempts)
    if (lost.length === 0) return allocation
    for (const port of lost) refused.add(port)
  }
}

/**
 * Creates the error for a taken port of a running guest. The port was not published yet, so the user can choose
 * another port.
 */
export function portTaken(machine: string, port: number, option: string): OpsError {
  return failure('PORT_TAKEN', `machine '${machine}': port ${port} of 127.0.0.1 is held by another program`, {
    machine,
    hint: `choose another port in ${option}; ss -ltnp 'sport = :${port}' shows the program`,
  })
}

/** URL schemes of ports whose usual service does not use plain HTTP. */
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
  allocation: PortAllocation,
  port: number,
): { host: string; port: number } | undefined {
  const found = allocation.forwardPorts.find(({ guest }) => guest === port)
  return found === undefined ? undefined : { host: '127.0.0.1', port: found.host }
}

export function publishedUrls(allocation: PortAllocation): string[] {
  return allocation.forwardPorts.map(({ host, guest }) => {
    const scheme = schemes.get(guest) ?? 'http'
    return `${scheme}://127.0.0.1:${host}${scheme.startsWith('http') ? '/' : ''}`
  })
}
