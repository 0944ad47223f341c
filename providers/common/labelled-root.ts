/** Root file system of the disk images that NixOS builds, and of the `nixos` image. */
export const labelledRoot = { root: '/dev/disk/by-label/nixos', rootType: 'ext4' } as const

/** Drivers for QEMU's disks; NixOS includes only drivers for real hardware by default. */
export const virtioDrivers = ['virtio_pci', 'virtio_blk', 'virtio_scsi']
