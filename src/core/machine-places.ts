/** Lock against other operators' work on a machine, and against its automatic update. */
export const machineLock = {
  /** Lock file on the machine. A reboot removes the file, and ends the work that the file protects. */
  file: '/run/hydra-ops/set-up-by',
  /** Age at which an operator's lock counts as abandoned: longer than any set-up takes. */
  staleSeconds: 2 * 3_600,
} as const

/** File on the machine that names the deployment which was activated last. */
export const ownerFile = '/var/lib/hydra-ops/owner'

/** Link to the activated closure of a Debian machine. */
export const debianProfile = '/nix/var/nix/profiles/hydra-ops'

/** File of the automatic update's last result, which everybody may read. */
export const updateResultFile = '/var/lib/hydra-ops/auto-update/result.json'
