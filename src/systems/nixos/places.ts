import type { StorePath } from '../../core/names.js'

/** Folder on a machine with one folder for each activation. */
export const runsFolder = '/var/lib/hydra-ops/activations'

/** Profile from which NixOS generates its boot menu. */
export const systemProfile = '/nix/var/nix/profiles/system'

/** File that exists while the boot menu may lack the profile's system. */
export const pendingFile = '/var/lib/hydra-ops/boot-menu-pending'

/** File that names the system that the next boot starts, and the boot during which this was decided. */
export const awaitsFile = '/var/lib/hydra-ops/awaits-boot'

/** Folder on a machine for the one-time boot of a new system. */
export const bootOnceFolder = '/var/lib/hydra-ops/boot-once'

/** Profile of the system that boots once; boot menus list such a profile beside the default. */
export const bootOnceProfile = '/nix/var/nix/profiles/system-profiles/hydra_ops'

/**
 * One activation on a machine. All other names follow from the name of the run, which the name of the unit contains.
 */
export interface NixosActivation {
  readonly run: string
  readonly unit: string
  /** Unit that makes the system the boot default. */
  readonly keepUnit: string
  /** Unit that prepares one boot of the system. */
  readonly prepareUnit: string
  /** Absolute path of the log on the machine. */
  readonly log: string
  readonly folder: string
  /** System that is activated. */
  readonly path: StorePath
  /** Boot of the machine during which the activation started. */
  readonly bootId: string
}

export function nixosActivation(run: string, path: StorePath, bootId: string): NixosActivation {
  return {
    run,
    unit: `hydra-ops-activation-${run}.service`,
    keepUnit: `hydra-ops-keep-${run}.service`,
    prepareUnit: `hydra-ops-prepare-${run}.service`,
    log: `/var/log/hydra-ops/${run}.log`,
    folder: `${runsFolder}/${run}`,
    path,
    bootId,
  }
}

/** Returns the run of a recorded unit; `undefined` for a unit of another kind of system. */
export function runOf(unit: string): string | undefined {
  return /^hydra-ops-activation-(.+)\.service$/.exec(unit)?.[1]
}
