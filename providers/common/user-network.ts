/**
 * Addresses of QEMU's user networking (QEMU's manual, `-netdev user`). VirtualBox's NAT uses the same addresses.
 */
export const userNetwork = {
  guest: '10.0.2.15/24',
  gateway: '10.0.2.2',
  nameServer: '10.0.2.3',
} as const
