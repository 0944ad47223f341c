/** A program that hydra-ops runs on the operator host, with its Debian package. */
export interface KnownProgram {
  readonly program: string
  readonly package: string
  /** The purpose for which the program is needed. */
  readonly purpose: 'guests' | 'images' | 'nix' | 'ssh'
}

/**
 * All known programs. `scripts/packages` lists the same packages, and packages without a program; a test compares
 * both lists.
 */
export const knownPrograms: readonly KnownProgram[] = [
  { program: 'virsh', package: 'libvirt-clients', purpose: 'guests' },
  { program: 'libvirtd', package: 'libvirt-daemon', purpose: 'guests' },
  { program: 'qemu-system-x86_64', package: 'qemu-system-x86', purpose: 'guests' },
  { program: 'qemu-img', package: 'qemu-utils', purpose: 'guests' },
  { program: 'mmdebstrap', package: 'mmdebstrap', purpose: 'images' },
  { program: 'newuidmap', package: 'uidmap', purpose: 'images' },
  { program: 'mke2fs', package: 'e2fsprogs', purpose: 'images' },
  { program: 'xorriso', package: 'xorriso', purpose: 'images' },
  { program: 'nix-store', package: 'nix-bin', purpose: 'nix' },
  { program: 'nix-instantiate', package: 'nix-bin', purpose: 'nix' },
  { program: 'nix-env', package: 'nix-bin', purpose: 'nix' },
  { program: 'nix-copy-closure', package: 'nix-bin', purpose: 'nix' },
  { program: 'ssh', package: 'openssh-client', purpose: 'ssh' },
  { program: 'scp', package: 'openssh-client', purpose: 'ssh' },
  { program: 'ssh-keygen', package: 'openssh-client', purpose: 'ssh' },
]

/** Returns the known Debian package of a program. */
export function packageOf(program: string): string | undefined {
  return knownPrograms.find((known) => known.program === program)?.package
}

/** Returns the command line that installs packages on Debian. */
export function installLine(packages: Iterable<string>): string {
  return `sudo apt-get install -y --no-install-recommends ${[...new Set(packages)].join(' ')}`
}
