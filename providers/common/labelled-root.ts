/** Root file system of the disk images that NixOS makes. */
export const labelledRoot = { root: '/dev/disk/by-label/nixos', rootType: 'ext4' } as const
