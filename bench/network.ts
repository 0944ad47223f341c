/**
 * Writes a network of Debian machines as a user might. Defaults are shared, and each machine has a few files and a
 * unit.
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
