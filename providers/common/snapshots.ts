import { failure, type OpsError } from '../../src/core/errors.js'

export { noSnapshot, snapshotExists } from '../../src/core/snapshot-errors.js'

/** Deadline for saving or loading the memory of a machine on a slow disk. */
export const memoryMs = 30 * 60_000

/** Creates the error for a snapshot that lacks a part. */
export function snapshotLost(machine: string, name: string, why: string): OpsError {
  return failure('SNAPSHOT_LOST', `machine '${machine}': snapshot '${name}' cannot be restored: ${why}`, {
    machine,
    hint: `restore the file if you have a copy; otherwise run hydra-ops snapshot delete ${name} ${machine}`,
  })
}

/** Facts of a machine, now or in a snapshot. */
interface Settings {
  readonly memoryMiB: number
  readonly vcpu: number
}

export const savedMemoryLoss = 'its saved memory is removed'

/** Lists the settings that a restore changes. */
export function settingLosses(now: Settings, then: Settings): string[] {
  return [
    ...changed('memory', now.memoryMiB, then.memoryMiB, ' MiB'),
    ...changed('vCPU', now.vcpu, then.vcpu, ''),
  ]
}

function changed(what: string, from: number, to: number, unit: string): string[] {
  return from === to ? [] : [`${what} ${from} → ${to}${unit}`]
}

/** Says what a restore does to a disk that the snapshot lacks. */
export function newerDiskLoss(
  path: string,
  handle: { readonly extraDisks: Readonly<Record<string, string>> } | undefined,
  rest = 'its file stays as it is',
): string {
  const [name = path] = Object.entries(handle?.extraDisks ?? {}).find(([, each]) => each === path) ?? []
  return `disk ${name} is newer: it is detached, and ${rest}`
}
