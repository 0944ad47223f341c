import type { MachineDefinition } from '../core/definition.js'

/** Differences between operating systems that matter to keys. */
export interface KeyCustoms {
  /**
   * Whether a deploy writes the unit of a key. NixOS keeps its unit folder in the read-only store, so the units are
   * part of the closure (nix/modules/keys.nix).
   */
  readonly writesUnits: boolean
  /**
   * Whether an owner who cannot enter the folder is an error even before the activation. The activation of NixOS adds
   * users to group `keys`.
   */
  readonly judgesFoldersEarly: boolean
  /** Returns advice for users who cannot enter the folders of their keys. */
  readonly folderHint: (users: readonly string[]) => string
}

const debian: KeyCustoms = {
  writesUnits: true,
  judgesFoldersEarly: true,
  folderHint: () =>
    'set deployment.aptPackages = [ "acl" ] if the file system of the folder has ACLs; or create the folder yourself before the deploy',
}

/**
 * NixOS mounts /run/keys as a ramfs with mode 0750 and owner root:keys (boot.specialFileSystems, observed in 20.09).
 */
const nixos: KeyCustoms = {
  writesUnits: false,
  judgesFoldersEarly: false,
  folderHint: (users) => {
    const options = users.map((user) => `users.users.${user}.extraGroups = [ "keys" ]`)
    return `set ${options.join('; ')}: a folder without ACLs, such as /run/keys on NixOS, admits only members of the group keys`
  },
}

const customs = { debian, nixos } satisfies Record<MachineDefinition['os'], KeyCustoms>

export function keyCustoms(os: MachineDefinition['os']): KeyCustoms {
  return customs[os]
}
