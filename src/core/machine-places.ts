/** Lock that excludes other operators' work on a machine, and its automatic update. */
export const machineLock = {
  /**
   * Path of the lock file on the machine. A reboot removes the file, and also ends the work that the file protects.
   */
  file: '/run/hydra-ops/set-up-by',
  /** Age at which an operator's lock counts as abandoned; no set-up takes that long. */
  staleSeconds: 2 * 3_600,
} as const

/** Path of the file on the machine that names the last activated deployment. */
export const ownerFile = '/var/lib/hydra-ops/owner'

/** Path of the link to the activated closure of a Debian machine. */
export const debianProfile = '/nix/var/nix/profiles/hydra-ops'

/** Path of the file with the last result of the automatic update. Every user may read the file. */
export const updateResultFile = '/var/lib/hydra-ops/auto-update/result.json'
