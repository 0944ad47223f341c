import { join } from 'node:path'
import { packageRoot } from '../src/core/package-root.js'

/**
 * Returns a network of Debian machines as a user might write it. The machines share defaults, and each has a few
 * files and a unit.
 */
export function debianNetwork(machines: number, deployment: (index: number) => string): string {
  const each = Array.from({ length: machines }, (_, index) => machine(index + 1, deployment(index + 1)))
  return `{
  network.description = "${machines} machines";
  defaults = { nodes, ... }: {
    deployment.os = "debian";
    deployment.files."/etc/motd".text = "one of \${toString (builtins.length (builtins.attrNames nodes))}\\n";
  };
${each.join('\n')}
}
`
}

function machine(index: number, deployment: string): string {
  return `  m${index} = { name, ... }: {
${deployment}
    deployment.tags = [ "t${index % 3}" ];
    deployment.files."/etc/app/config".text = "name = \${name}\\n";
    deployment.units."app.service".text = ''
      [Service]
      ExecStart=/bin/sleep infinity
      Environment=NAME=\${name}
    '';
  };`
}

/** Stand-in for nixpkgs from the tests; a real nixpkgs takes seconds for each machine. */
export const standInNixpkgs = join(packageRoot(), 'test', 'fixtures', 'nixpkgs')

/** Returns a network of NixOS machines as a user might write it. */
export function nixosNetwork(machines: number, deployment: (index: number) => string): string {
  const each = Array.from({ length: machines }, (_, index) => nixosMachine(index + 1, deployment(index + 1)))
  return `{\n  network.nixpkgs = ${standInNixpkgs};\n${each.join('\n')}\n}\n`
}

function nixosMachine(index: number, deployment: string): string {
  return `  m${index} = { name, ... }: {
${deployment}
    boot.loader.grub.device = "/dev/vda";
    fileSystems."/".device = "/dev/vda1";
    services.openssh.enable = true;
    environment.etc."app".text = "name = \${name}\\n";
  };`
}
