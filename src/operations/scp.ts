import type { Ops } from '../core/context.js'
import { usageError } from '../core/errors.js'
import { MachineName } from '../core/names.js'
import { machineOf } from '../machine/resource.js'
import { sshClientConfig } from '../machine/ssh-client.js'
import { splitWho } from './ssh-session.js'

export interface ScpRequest {
  readonly deployment: string | undefined
  /** Machine of all sources (from) or of the destination (to), as in NixOps. */
  readonly from: string | undefined
  readonly to: string | undefined
  /** Sources, then the destination: local paths, or `MACHINE:path`. */
  readonly paths: readonly string[]
}

interface Place {
  readonly user: string | undefined
  /** Machine; `undefined` means this host. */
  readonly machine: string | undefined
  readonly path: string
}

/** Copies files and folders with the system's scp; returns the exit status of scp. */
export async function copyFiles(ops: Ops, request: ScpRequest): Promise<number> {
  const places = placesOf(request)
  const record = await ops.store.resolve(request.deployment)
  const machines = [...new Set(places.flatMap((place) => place.machine ?? []))]
  for (const machine of machines) machineOf(record, machine)
  const run = { signal: ops.signal, log: () => {} }
  const config = await sshClientConfig(
    ops,
    record,
    machines.map((machine) => MachineName.parse(machine)),
    run,
  )
  // -3 routes copies between machines through this host, which has the keys of both machines.
  const through = machines.length > 1 ? ['-3'] : []
  return ops.local.interactive(['scp', '-r', ...through, '-F', config, '--', ...places.map(argumentOf)], {
    signal: ops.signal,
  })
}

/** Finds the place of each path; at least one must be on a machine. */
export function placesOf(request: ScpRequest): Place[] {
  const { from, to, paths } = request
  const sources = paths.slice(0, -1)
  const destination = paths.at(-1)
  if (destination === undefined || sources.length === 0)
    throw usageError('scp needs a source and a destination')
  if (from !== undefined && to !== undefined) throw usageError('--from and --to cannot be used together')
  if (from !== undefined) return [...sources.map((path) => ({ ...splitWho(from), path })), here(destination)]
  if (to !== undefined) return [...sources.map(here), { ...splitWho(to), path: destination }]
  const places = paths.map(parsePlace)
  if (places.every((place) => place.machine === undefined)) {
    throw usageError('no path names a machine', {
      hint: 'write a path as MACHINE:PATH, or name the machine with --from or --to',
    })
  }
  return places
}

function here(path: string): Place {
  return { user: undefined, machine: undefined, path }
}

/** Splits a path as scp does: a colon before any slash separates host and path. */
function parsePlace(text: string): Place {
  const [, who, path] = /^([^/:]+):(.*)$/s.exec(text) ?? []
  return who === undefined || path === undefined ? here(text) : { ...splitWho(who), path }
}

function argumentOf({ user, machine, path }: Place): string {
  if (machine === undefined) {
    // A local name with a colon must not look like a host.
    return path.includes(':') && !/^\.{0,2}\//.test(path) ? `./${path}` : path
  }
  return `${user === undefined ? '' : `${user}@`}${machine}:${path}`
}
