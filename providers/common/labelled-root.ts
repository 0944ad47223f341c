/** Root file system of the disk images that NixOS makes, and of the image `nixos`. */
export const labelledRoot = { root: '/dev/disk/by-label/nixos', rootType: 'ext4' } as const

/** Drivers that find a disk of QEMU; NixOS adds only the drivers of real hardware by itself. */
export const virtioDrivers = ['virtio_pci', 'virtio_blk', 'virtio_scsi']
