/** Addresses of QEMU's user networking (its documentation, `-netdev user`) and of VirtualBox's NAT, which has the same. */
export const userNetwork = {
  guest: '10.0.2.15/24',
  gateway: '10.0.2.2',
  nameServer: '10.0.2.3',
} as const
