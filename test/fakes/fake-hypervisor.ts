import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'

/**
 * A made-up hypervisor: a folder of JSON files, which survive a killed process. The hypervisor knows nothing about
 * hydra-ops; tests query it for the real objects.
 */
export interface FakeHypervisor {
  readonly folder: string
  domain(name: string): FakeDomain | undefined
  disk(name: string): FakeDisk | undefined
  /** Returns the configuration with which the machine was started; undefined = the machine is not running. */
  running(name: string): FakeRunning | undefined
  define(name: string, domain: FakeDomain): void
  undefine(name: string): void
  makeDisk(name: string, disk: FakeDisk): void
  removeDisk(name: string): void
  start(name: string): void
  stop(name: string): void
  /** Returns a machine's snapshots in the order of their names. */
  snapshots(name: string): FakeSnapshot[]
  makeSnapshot(name: string, snapshot: FakeSnapshot): void
  removeSnapshot(name: string, snapshot: string): void
  /** Restores a whole machine in one operation, as a hypervisor does. */
  revert(name: string, snapshot: FakeSnapshot): void
  /** Lists all objects, so that tests find orphans and duplicates. */
  listing(): { domains: string[]; disks: string[]; running: string[]; snapshots: string[] }
}

/** A domain. `owner` is the mark: the UUID of a deployment; absent = a foreign domain. */
export const FakeDomain = z.object({
  owner: z.string().optional(),
  machine: z.string().optional(),
  memorySize: z.number(),
  cpuShares: z.number(),
  port: z.number(),
  hostKey: z.string().optional(),
})
export type FakeDomain = z.infer<typeof FakeDomain>

export const FakeDisk = z.object({
  owner: z.string().optional(),
  gib: z.number(),
  image: z.string(),
  /** The data that the guest wrote to the disk. */
  content: z.string().optional(),
  /** Whether the data disk was removed. */
  lostData: z.boolean().optional(),
  /** Whether the base image below the disk was removed. */
  lostBase: z.boolean().optional(),
})
export type FakeDisk = z.infer<typeof FakeDisk>

export const FakeRunning = z.object({ memorySize: z.number() })
export type FakeRunning = z.infer<typeof FakeRunning>

export const FakeSnapshot = z.object({
  name: z.string(),
  at: z.string(),
  description: z.string().optional(),
  domain: FakeDomain,
  disk: FakeDisk,
  /** The saved memory; absent = the machine was off. */
  running: FakeRunning.optional(),
})
export type FakeSnapshot = z.infer<typeof FakeSnapshot>

/**
 * Creates a hypervisor. `onOperation` is called before each change with its number and name, so that a test can stop
 * the process there.
 */
export function createFakeHypervisor(
  folder: string,
  onOperation: (n: number, operation: string) => void = () => {},
): FakeHypervisor {
  let operations = 0
  const kinds = {
    domains: join(folder, 'domains'),
    disks: join(folder, 'disks'),
    running: join(folder, 'running'),
    snapshots: join(folder, 'snapshots'),
  }
  for (const kind of Object.values(kinds)) mkdirSync(kind, { recursive: true })
  const file = (kind: keyof typeof kinds, name: string) => join(kinds[kind], `${name}.json`)
  const put = (kind: keyof typeof kinds, name: string, value: unknown) => {
    operations += 1
    onOperation(operations, `make ${kind}/${name}`)
    writeFileSync(file(kind, name), JSON.stringify(value))
  }
  const drop = (kind: keyof typeof kinds, name: string) => {
    operations += 1
    onOperation(operations, `remove ${kind}/${name}`)
    rmSync(file(kind, name), { force: true })
  }
  const get = <T>(kind: keyof typeof kinds, name: string, schema: z.ZodType<T>): T | undefined =>
    existsSync(file(kind, name))
      ? schema.parse(JSON.parse(readFileSync(file(kind, name), 'utf8')))
      : undefined
  const names = (kind: keyof typeof kinds) =>
    readdirSync(kinds[kind])
      .map((each) => each.replace(/\.json$/, ''))
      .sort()
  return {
    folder,
    domain: (name) => get('domains', name, FakeDomain),
    disk: (name) => get('disks', name, FakeDisk),
    running: (name) => get('running', name, FakeRunning),
    define: (name, domain) => put('domains', name, domain),
    undefine: (name) => drop('domains', name),
    makeDisk: (name, disk) => put('disks', name, disk),
    removeDisk: (name) => drop('disks', name),
    start: (name) => put('running', name, { memorySize: get('domains', name, FakeDomain)?.memorySize }),
    stop: (name) => drop('running', name),
    snapshots: (name) =>
      names('snapshots')
        .filter((each) => each.startsWith(`${name}@`))
        .flatMap((each) => get('snapshots', each, FakeSnapshot) ?? []),
    makeSnapshot: (name, snapshot) => put('snapshots', `${name}@${snapshot.name}`, snapshot),
    removeSnapshot: (name, snapshot) => drop('snapshots', `${name}@${snapshot}`),
    revert: (name, { domain, disk, running, name: snapshot }) => {
      operations += 1
      onOperation(operations, `revert ${name}@${snapshot}`)
      writeFileSync(file('domains', name), JSON.stringify(domain))
      writeFileSync(file('disks', name), JSON.stringify(disk))
      rmSync(file('running', name), { force: true })
      if (running !== undefined) writeFileSync(file('running', name), JSON.stringify(running))
    },
    listing: () => ({
      domains: names('domains'),
      disks: names('disks'),
      running: names('running'),
      snapshots: names('snapshots'),
    }),
  }
}
