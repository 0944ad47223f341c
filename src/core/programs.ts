/** A program of the operator host that hydra-ops runs, and the Debian package that brings it. */
export interface KnownProgram {
  readonly program: string
  readonly package: string
  /** What cannot be done without it. */
  readonly purpose: 'guests' | 'images' | 'nix' | 'ssh'
}

/** `scripts/packages` names the same packages (and those without a program); a test compares the two. */
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

/** The Debian package of a program, where we know it. */
export function packageOf(program: string): string | undefined {
  return knownPrograms.find((known) => known.program === program)?.package
}

/** The line that installs packages on Debian. */
export function installLine(packages: Iterable<string>): string {
  return `sudo apt-get install -y --no-install-recommends ${[...new Set(packages)].join(' ')}`
}
